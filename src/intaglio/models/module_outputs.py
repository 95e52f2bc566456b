"""Outputs of a network's modules while it is called."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn


@contextmanager
def outputs_of(modules: Iterable[nn.Module]) -> Iterator[list[Tensor]]:
    """While the block runs, the list takes the outputs of these modules, float32 and in the order of calls."""
    found = list[Tensor]()

    def keep(module: nn.Module, given: Any, output: Any) -> None:
        found.append((output[0] if isinstance(output, tuple) else output).float())

    handles = [module.register_forward_hook(keep) for module in modules]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def with_output(module: nn.Module, value: Tensor) -> Iterator[None]:
    """While the block runs, the module gives this value, whatever it is called with."""
    handle = module.register_forward_hook(lambda *_: value)
    try:
        yield
    finally:
        handle.remove()
