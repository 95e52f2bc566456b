"""Convolution layers of a network, as far as their kernels have a shape."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from intaglio.errors import BadInput, IntaglioError
from intaglio.runs.plain_json import digest
from intaglio.runs.tensors import tensor_hash


@dataclass(frozen=True, eq=False)
class KernelLayer:
    """The kernels of one convolution, of more than one place."""

    name: str
    """Path of the module."""
    kernels: Float[Tensor, "o i kh kw"]
    """float32, on the CPU."""

    @property
    def rows(self) -> Float[Tensor, "n k"]:
        """A row a kernel."""
        return self.kernels.flatten(2).flatten(0, 1)


def kernel_layers(network: nn.Module) -> tuple[KernelLayer, ...]:
    """Layers of two-dimensional kernels of more than one place, in the order of the modules.

    Raises:
        BadInput: for a network without one.
        IntaglioError: for weights that are not finite.
    """
    found = []
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d) and module.weight[0, 0].numel() > 1:
            kernels = module.weight.detach().to("cpu", torch.float32)
            if not bool(kernels.isfinite().all()):
                raise IntaglioError(f"the kernels of {name} are not finite; check the network's file")
            found.append(KernelLayer(name, kernels))
    if not found:
        raise BadInput(
            "the network has no convolution with kernels of more than one place, whose shape could be looked at; give "
            "one that has"
        )
    return tuple(found)


def paired(layers: Sequence[KernelLayer], others: Sequence[KernelLayer]) -> tuple[KernelLayer, ...]:
    """The other network's layers in the order of the first one's. Raises `BadInput` where names or shapes differ."""
    known = {one.name: one for one in others}
    for one in layers:
        other = known.get(one.name)
        if other is None or other.kernels.shape != one.kernels.shape:
            here, there = tuple(one.kernels.shape), None if other is None else tuple(other.kernels.shape)
            told = "has no such layer" if there is None else f"has it as {there}"
            raise BadInput(f"{one.name} is {here} and the network of --against {told}; give one of the same build")
    return tuple(known[one.name] for one in layers)


def layers_hash(layers: Sequence[KernelLayer]) -> str:
    """SHA-256 over names and kernels; 64 hex digits."""
    return digest([(one.name, tensor_hash(one.kernels)) for one in layers])
