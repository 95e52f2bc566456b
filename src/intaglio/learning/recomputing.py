"""Gradient checkpointing of networks while they are trained: activations are computed again in the backward pass."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def recomputing(asked: bool, networks: Iterable[Any]) -> Iterator[None]:
    """While the block runs, and where it is asked for, denoisers keep the inputs of their blocks alone for a gradient.

    A block that runs again must give what it gave: whatever it reads beside its inputs must stay until the backward
    pass. Networks that do so already are left as they are.

    Args:
        asked: False leaves the networks as they are.
        networks: denoisers of diffusers.
    """
    chosen = [network for network in networks if asked and not network.is_gradient_checkpointing]
    try:
        for network in chosen:
            network.enable_gradient_checkpointing()
        yield
    finally:
        for network in chosen:
            network.disable_gradient_checkpointing()
