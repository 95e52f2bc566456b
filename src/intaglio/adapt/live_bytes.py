"""Bytes that a computation holds at once, counted as tensors are made and freed."""

import weakref
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """While it is entered, every storage that an operation makes is counted until it is freed.

    Memory that an operation needs inside itself alone, such as the workspace of a convolution, is not seen. Tensors
    without memory (`FakeTensorMode` around it) count as those that they stand for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        """Bytes held now, and at most so far."""
        self._known = set[int]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {_key(one) for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)}
        found = func(*args, **(kwargs or {}))
        for one in tree_leaves(found):
            if isinstance(one, Tensor) and (key := _key(one)) not in self._known and key not in given:
                self._count(one, key)
        return found

    def _count(self, tensor: Tensor, key: int) -> None:
        storage = tensor.untyped_storage()
        size = storage.nbytes()
        self._known.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._freed, key, size)

    def _freed(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


def _key(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
