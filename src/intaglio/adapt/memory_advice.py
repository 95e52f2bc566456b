"""How much memory a step takes, and what to do when there is too little."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from intaglio.adapt.settings import Training
from intaglio.errors import IntaglioError


class Kept:
    """Bytes of the distinct storages that autograd keeps for the way back, those in `known` left out."""

    def __init__(self, known: set[int]):
        self._known, self._sizes = known, dict[int, int]()

    @property
    def bytes(self) -> int:
        return sum(self._sizes.values())

    def pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._known:
            self._sizes[storage.data_ptr()] = storage.nbytes()
        return tensor


@contextmanager
def counting(model_tensors: list[Tensor]) -> Iterator[Kept]:
    """Counts what autograd keeps while the block runs; what recomputed blocks will need is not among it."""
    kept = Kept({tensor.untyped_storage().data_ptr() for tensor in model_tensors})
    with torch.autograd.graph.saved_tensors_hooks(kept.pack, lambda tensor: tensor):
        yield kept


@contextmanager
def memory_advice(settings: Training, pictures: int, *more: str) -> Iterator[None]:
    """Turns running out of memory into an `IntaglioError` that says what would help a step of `pictures`."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
        at_once = min(settings.micro_batch or pictures, pictures)
        advice = [f"--micro-batch {at_once // 2}"] if at_once > 1 else []
        advice += [] if settings.gradient_checkpointing else ["--gradient-checkpointing"]
        remedy = ", or ".join([*advice, *more, "a machine with more memory"])
        raise IntaglioError(f"Out of memory with {at_once} pictures at once; try {remedy}.") from error


def _out_of_memory(error: BaseException) -> bool:
    words = ("out of memory", "not enough memory", "can't allocate memory")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(word in str(error) for word in words)
