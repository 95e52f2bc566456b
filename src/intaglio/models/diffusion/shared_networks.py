"""Networks that share the weights of others, with hooks, modes and some modules of their own."""

import copy
from collections.abc import Mapping

from torch import nn


def with_frozen_weights(network: nn.Module, others: Mapping[nn.Module, nn.Module] | None = None) -> nn.Module:
    """A network of the same weights and buffers, which can be frozen, hooked, replaced and moved by itself.

    `others` stand in the place of modules.
    """
    shared = {id(weight): nn.Parameter(weight.data, requires_grad=False) for weight in network.parameters()}
    made = {id(old): new for old, new in (others or {}).items()}
    return copy.deepcopy(network, {**shared, **{id(buffer): buffer for buffer in network.buffers()}, **made})


def with_same_weights(network: nn.Module) -> nn.Module:
    """A network whose parameters and buffers are those of another, also after that is moved or changed.

    Hooks and modes are its own.
    """
    twin = copy.deepcopy(network, {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())})
    for theirs, own in zip(network.modules(), twin.modules(), strict=True):
        own._parameters, own._buffers = theirs._parameters, theirs._buffers
    return twin
