"""Layers whose inputs are rounded to few bits: simulated integer activations, with a fixed scale a layer.

Such a layer has a buffer `input_grid` beside its weight: the scale, and the bits. It is saved, hashed and copied as a
weight is, and its rounding is part of the network wherever it goes.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from intaglio.errors import BadInput
from intaglio.models.packing.bit_planes import MOST_BITS
from intaglio.models.packing.term_tensors import DAMAGED

GRID = "input_grid"
"""Name of the buffer, float32 [2]."""


def rounded(x: Float[Tensor, "*shape"], grid: Float[Tensor, "2"]) -> Float[Tensor, "*shape"]:
    """s·clip(⌊x/s⌉, -2^(b-1), 2^(b-1)-1) for the grid (s, b), in the type of x.

    Gradients pass as through x where it is within the range, and are 0 beyond.
    """
    scale, half = grid[0].float(), torch.exp2(grid[1].float() - 1)
    limited = (x.float() / scale).clamp(-half, half - 1)
    return ((limited + (limited.round() - limited).detach()) * scale).to(x.dtype)


def input_grid(scale: float, bits: int) -> Float[Tensor, "2"]:
    """The buffer of a layer; the scale is rounded to half precision, as which it may be stored."""
    return torch.tensor([float(torch.tensor(scale).half()), float(bits)])


def round_inputs(network: nn.Module, grids: Mapping[str, Tensor]) -> None:
    """Lets layers of a network, by path, round their inputs from now on, in place."""
    for path, grid in grids.items():
        layer = network.get_submodule(path)
        first = GRID not in dict(layer.named_buffers(recurse=False))
        layer.register_buffer(GRID, grid.to(layer.get_parameter("weight").device))
        if first:
            layer.register_forward_pre_hook(_Rounding())


def rounding_layers(network: nn.Module, keys: Iterable[str]) -> list[str]:
    """The paths of layers of a network that these keys of its files have a grid for."""
    paths = [key.removesuffix(f".{GRID}") for key in keys if key.endswith(f".{GRID}")]
    known = dict(network.named_modules())
    return sorted(path for path in paths if isinstance(known.get(path), nn.Linear | nn.Conv2d))


def check_grids(network: nn.Module, source: str) -> None:
    """Raises `BadInput` for a grid that no layer can have; `source` names the file."""
    for name, grid in network.named_buffers():
        if name.endswith(f".{GRID}"):
            scale, bits = grid.tolist()
            if scale <= 0 or bits not in range(2, MOST_BITS + 1):
                raise BadInput(f"{source} has {name} with scale {scale:g} and {bits:g} bits: {DAMAGED}")


class _Rounding:
    """The hook of a layer that rounds its first input."""

    def __call__(self, layer: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        return (rounded(given[0], layer.get_buffer(GRID)), *given[1:])
