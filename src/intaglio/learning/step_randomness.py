"""Draws of a training step as pure functions of (seed, step): a resumed run needs no generator's state."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from intaglio.randomness import generator_32bit


def batch_at(order: Sequence[int], step: int, batch: int, seed: int, stream: str) -> list[int]:
    """The `batch` entries of `order` that step `step` is given.

    Every epoch is a fresh permutation of `order`, and batches run on from one epoch into the next, so that each
    entry is seen exactly once an epoch whatever the batch size.
    """
    taken = []
    while len(taken) < batch:
        epoch, index = divmod(step * batch + len(taken), len(order))
        shuffled = torch.randperm(len(order), generator=generator_32bit(seed, stream, "epoch", epoch))
        taken += [order[i] for i in shuffled[index : index + batch - len(taken)].tolist()]
    return taken


def noise_at(shape: Sequence[int], step: int, seed: int) -> Float[Tensor, "..."]:
    """Unit noise of step `step`, float32 of the given shape."""
    return torch.randn(*shape, generator=generator_32bit(seed, "noise", step))


def timesteps_at(count: int, timesteps: int, step: int, seed: int) -> Int64[Tensor, " n"]:
    """`count` uniform timesteps in 0..timesteps-1 for step `step`."""
    return torch.randint(timesteps, (count,), generator=generator_32bit(seed, "timesteps", step))


def dropped_at(count: int, probability: float, step: int, seed: int) -> Bool[Tensor, " n"]:
    """A mask of the captions that step `step` leaves out, each of `count` with `probability` in [0, 1]."""
    return torch.rand(count, generator=generator_32bit(seed, "dropout", step)) < probability
