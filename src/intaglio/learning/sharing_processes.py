"""Processes that share the steps of one training: each takes rows of the batch, and all make the same update.

The batch of a step is a function of (seed, step), so that every process can draw it whole and take its own rows. A loss
that is a sum over pictures has the sum of the processes' gradients as its own, which each then holds: the update is
that of one process with the whole batch, up to the rounding of the sum.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from safetensors.torch import load, save
from torch import Tensor, distributed

from intaglio.errors import IntaglioError
from intaglio.learning.trainer import Trainer

BUCKET = 2**23
"""Numbers that are sent at once, at most, but for a weight that has more."""


@dataclass(frozen=True)
class Processes:
    """One of `count` processes that share each step; a call of each method waits for all of them.

    With more than one, `torch.distributed` must have been set up for just these.
    """

    rank: int = 0
    """This process, in 0..count-1; 0 is the main one, which alone writes."""
    count: int = 1
    device: str = "cpu"
    """Where what is sent must lie."""

    @property
    def main(self) -> bool:
        """Whether this process writes the run."""
        return self.rank == 0

    @property
    def alone(self) -> bool:
        """Whether there is nothing to share."""
        return self.count == 1

    def rows(self, start: int, stop: int) -> slice:
        """The rows of `start:stop` that this process takes; none where there are fewer than processes."""
        return slice(start + self.rank, stop, self.count)

    def summed(self, numbers: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The sum of a tensor over all processes."""
        if self.alone:
            return numbers
        total = numbers.detach().clone()
        self._reduce(total, distributed.ReduceOp.SUM)
        return total

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        if self.alone:
            return flag
        found = torch.tensor([int(flag)], device=self.device)
        self._reduce(found, distributed.ReduceOp.MAX)
        return bool(found)

    @torch.no_grad()
    def add_gradients(self, weights: Sequence[Tensor]) -> None:
        """Give each weight the sum of its gradients; one that no process has a gradient of is left without."""
        if self.alone:
            return
        held = torch.tensor([int(weight.grad is not None) for weight in weights], device=self.device)
        self._reduce(held, distributed.ReduceOp.MAX)
        gradients = []
        for weight, somewhere in zip(weights, held.tolist(), strict=True):
            if somewhere:
                weight.grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
                gradients.append(weight.grad)
        for bucket in _buckets(gradients):
            flat = torch.cat([gradient.flatten() for gradient in bucket])
            self._reduce(flat, distributed.ReduceOp.SUM)
            for gradient, part in zip(bucket, flat.split([one.numel() for one in bucket]), strict=True):
                gradient.copy_(part.view_as(gradient))

    def from_main(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of the main process, on the CPU, whatever is given in another."""
        if self.alone:
            return dict(tensors)
        text = (
            save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}) if self.main else b""
        )
        size = torch.tensor([len(text)], device=self.device)
        self._broadcast(size)
        sent = torch.empty(int(size), dtype=torch.uint8, device=self.device)
        if self.main:
            sent.copy_(torch.frombuffer(bytearray(text), dtype=torch.uint8))
        self._broadcast(sent)
        return load(sent.cpu().numpy().tobytes())

    def start_alike(self, trainer: Trainer) -> None:
        """Give every trainer the state of the main process's, which alone may have been restored."""
        if self.alone:
            return
        state = self.from_main({**trainer.state(), "step": torch.tensor(trainer.step)})
        if not self.main:
            trainer.restore(state, int(state.pop("step")))

    def _reduce(self, tensor: Tensor, operation: distributed.ReduceOp.RedOpType) -> None:
        try:
            distributed.all_reduce(tensor, op=operation)
        except RuntimeError as error:
            raise _lost() from error

    def _broadcast(self, tensor: Tensor) -> None:
        try:
            distributed.broadcast(tensor, src=0)
        except RuntimeError as error:
            raise _lost() from error


ALONE = Processes()
"""One process that takes every row."""


def _lost() -> IntaglioError:
    return IntaglioError(
        "another process of this training ended or cannot be reached; its own message says why, and the same command "
        "goes on from the last saved state"
    )


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """The tensors in their order, of one type and at most so many numbers at once."""
    bucket: list[Tensor] = []
    for tensor in tensors:
        full = sum(one.numel() for one in bucket) + tensor.numel() > BUCKET
        if bucket and (full or tensor.dtype != bucket[0].dtype):
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket
