"""Memory of a training step: the bytes that autograd saves, and remedies where memory runs out."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from intaglio.adapt.settings import Training
from intaglio.errors import IntaglioError


class SavedTensors:
    """Bytes of the distinct storages that autograd saves for the backward pass, those in `known` left out."""

    def __init__(self, known: set[int]):
        self._known, self._sizes = known, dict[int, int]()

    @property
    def bytes(self) -> int:
        """The sum over storages."""
        return sum(self._sizes.values())

    def pack(self, tensor: Tensor) -> Tensor:
        """The hook of autograd for a saved tensor, which it returns as it is."""
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._known:
            self._sizes[storage.data_ptr()] = storage.nbytes()
        return tensor


@contextmanager
def counting(model_tensors: list[Tensor]) -> Iterator[SavedTensors]:
    """Counts what autograd saves while the block runs; what gradient checkpointing recomputes is not counted."""
    saved = SavedTensors({tensor.untyped_storage().data_ptr() for tensor in model_tensors})
    with torch.autograd.graph.saved_tensors_hooks(saved.pack, lambda tensor: tensor):
        yield saved


@contextmanager
def memory_advice(
    settings: Training, pictures: int, *more: str, fitting: Callable[[], list[str]] = list
) -> Iterator[None]:
    """Turns running out of memory into an `IntaglioError` with remedies for a step of `pictures`, `more` at the end.

    The remedies are those that `fitting` finds to fit; where it finds none, those that need less at all.
    """
    at_once = min(settings.micro_batch or pictures, pictures)
    advice = [f"--micro-batch {at_once // 2}"] if at_once > 1 else []
    advice += [] if settings.gradient_checkpointing else ["--gradient-checkpointing"]
    with remedied_memory(f"{at_once} pictures at once", lambda: [*(_found(fitting) or advice), *more]):
        yield


def _found(fitting: Callable[[], list[str]]) -> list[str]:
    try:
        return fitting()
    except Exception:  # advice is no reason for another error than that of the memory
        return []


@contextmanager
def remedied_memory(what: str, remedies: Sequence[str] | Callable[[], Sequence[str]]) -> Iterator[None]:
    """Turns running out of memory with `what` into an `IntaglioError` with remedies, as parts of a sentence."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
        found = remedies() if callable(remedies) else remedies
        remedy = ", or ".join([*found, "a machine with more memory"])
        raise IntaglioError(f"Out of memory with {what}; try {remedy}.") from error


def _out_of_memory(error: BaseException) -> bool:
    words = ("out of memory", "not enough memory", "can't allocate memory")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(word in str(error) for word in words)
