"""Networks that compute in half precision while they are trained, by an autocast around each of them."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from intaglio.learning.precision import Precision


@contextmanager
def computing_in(precision: Precision, networks: Iterable[nn.Module]) -> Iterator[None]:
    """While the block runs, the networks compute in a precision, whoever calls them, and give float32.

    Each module of them that is called from outside is an autocast of its own, so that parts of a network that are
    called by themselves do as well, and nothing outside is touched: sums and losses stay float32. In float32 the
    networks are left as they are.
    """
    modules = () if precision == "float32" else {module: None for network in networks for module in network.modules()}
    dtype, handles = getattr(torch, precision), []
    try:
        for module in modules:
            hook = _Autocast(dtype)
            handles.append(module.register_forward_pre_hook(hook.enter))
            handles.append(module.register_forward_hook(hook.leave, always_call=True))
        with warnings.catch_warnings():
            # Norms of half precision by weights of float32 are meant here, and computed in float32.
            warnings.filterwarnings("ignore", message="Mismatch dtype between input and weight")
            yield
    finally:
        for handle in handles:
            handle.remove()


class _Autocast:
    """The hooks of one module."""

    def __init__(self, dtype: torch.dtype):
        self._dtype = dtype
        self._entered = list[AbstractContextManager[Any] | None]()

    def enter(self, module: nn.Module, given: tuple[Any, ...]) -> None:
        device = _device(module, given)
        # Inside another module's autocast, as it is again where gradient checkpointing recomputes, nothing is entered.
        context = None if torch.is_autocast_enabled(device) else torch.autocast(device, self._dtype)
        self._entered.append(context)
        if context is not None:
            context.__enter__()

    def leave(self, module: nn.Module, given: tuple[Any, ...], output: Any) -> Any:
        if (context := self._entered.pop()) is None:
            return None
        context.__exit__(None, None, None)
        return _mapped(output, lambda tensor: tensor.float() if tensor.dtype == self._dtype else tensor)


def _device(module: nn.Module, given: tuple[Any, ...]) -> str:
    weight = next(module.parameters(), None)
    tensors = (one for one in (weight, *given) if isinstance(one, Tensor))
    return next((tensor.device.type for tensor in tensors), "cpu")


def _mapped(output: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(output, Tensor):
        return change(output)
    if type(output) in (tuple, list):
        return type(output)(_mapped(one, change) for one in output)
    return output
