"""Layers that compute with integers of 8 bits on the processor: rounded inputs times weights that are codes.

Such a layer gives what its dense twin with rounded inputs gives, up to the order of sums, in less time. The products of
codes are summed exactly, in 32 bits; scales and bias are applied to the sums. Weights, grids and their names stay as
they were, so that the model's fingerprint does, and memory grows by a byte or two a weight.
"""

import functools
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from intaglio.errors import BadInput, IntaglioError
from intaglio.models.packing.integers import Integers
from intaglio.models.packing.packed_weight import PackedWeight
from intaglio.models.packing.rounded_inputs import GRID

ZERO = 128
"""Code of an input that stands for 0; weights have the code 0 for it."""
ADVICE = "use bfloat16 or float32"
CHANGED = -1
"""Version of a weight that no longer is what its codes say; torch counts from 0."""


def use_int8(network: nn.Module, packed: Mapping[str, PackedWeight]) -> int:
    """Lets the layers of a network that can, compute with integers from now on, in place; how many do.

    A layer can where its inputs are rounded (`rounded_inputs`) and its packed weight is codes with one scale a row,
    without zeros of its own. `packed` has the weights by their names in the network.

    Raises `BadInput` where no layer can, on another device than a CPU, and where this processor's integer products are
    inexact or missing.
    """
    if next(network.parameters()).device.type != "cpu":
        raise BadInput(f"integers of 8 bits are computed with on a CPU alone; {ADVICE} on this device")
    if not _exact():
        raise BadInput(f"this processor, or this torch, has no exact products of 8-bit integers; {ADVICE}")
    found: list[tuple[nn.Module, str, nn.Module]] = []
    for path, layer in list(network.named_modules()):
        term = _codes(packed.get(f"{path}.weight"))
        if term is None or getattr(layer, GRID, None) is None or not _fits(layer):
            continue
        if not torch.equal(layer.get_parameter("weight").detach().cpu(), packed[f"{path}.weight"].unpack()):
            raise BadInput(f"the weight of {path} is not what its codes say, as after a LoRA; {ADVICE}")
        above, _, name = path.rpartition(".")
        kind = _Int8Linear if isinstance(layer, nn.Linear) else _Int8Conv
        found.append((network.get_submodule(above), name, kind(layer, term)))
    if not found:
        raise BadInput(
            "no layer of this model has both weights of 8 bits or fewer, a scale a row, and inputs that are rounded; "
            f"make it with shrink ptq4dm, or {ADVICE}"
        )
    for parent, name, layer in found:
        setattr(parent, name, layer)
    return len(found)


def _fits(layer: nn.Module) -> bool:
    """Whether a layer is of a kind that has an integer product."""
    if isinstance(layer, nn.Conv2d):
        return layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    return isinstance(layer, nn.Linear)


def _codes(weight: PackedWeight | None) -> Integers | None:
    """The codes of a weight that an integer product can take; None for others."""
    term = None if weight is None else weight.codes
    return term if term is not None and term.scales.shape[1] == 1 else None


class _Int8Layer(nn.Module, ABC):
    """A layer of a network with rounded inputs, as the product of two tables of codes.

    The dense weight stays beside the codes, for whoever hashes, compares or saves the network.
    """

    def __init__(self, layer: Any, term: Integers):
        super().__init__()
        self.weight, self.bias = layer.weight, layer.bias
        self.register_buffer(GRID, getattr(layer, GRID))
        steps = term.codes.to(torch.int16) - 2 ** (term.bits - 1)
        self._codes = steps.to(torch.int8).view(layer.weight.shape)
        self._scales, self._version = term.scales.float().flatten(), layer.weight._version
        scale, bits = getattr(self, GRID).tolist()
        self._scale, self._half = scale, 2 ** (int(bits) - 1)
        self.train(layer.training)

    def __getstate__(self) -> dict[str, Any]:
        """All but the table in the kernel's own order, which cannot be copied and is made again."""
        state = {name: value for name, value in self.__dict__.items() if name != "_table"}
        return {**state, "_version": None if self._unchanged else CHANGED}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """The weight of a copy counts its changes anew."""
        super().__setstate__(state)
        if state["_version"] is None:
            self._version = self.weight._version

    @property
    def _unchanged(self) -> bool:
        return self.weight._version == self._version and self.weight.dtype == torch.float32

    @abstractmethod
    def _product(self, codes: UInt8[Tensor, "..."]) -> Tensor:
        """Output, float32, of inputs that are given as codes."""

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Output in the type of x. Raises `IntaglioError` where a gradient is asked, or the weight was changed."""
        if torch.is_grad_enabled() and (x.requires_grad or self.weight.requires_grad):
            raise IntaglioError(f"integers of 8 bits have no gradients; load the model in float32, or {ADVICE}")
        if not self._unchanged:
            raise IntaglioError(f"the weights were changed after they became integers; change them first, or {ADVICE}")
        if x.device.type != "cpu":
            raise IntaglioError(f"integers of 8 bits are computed with on a CPU alone; {ADVICE} on {x.device}")
        output = self._product(_codes_of(x.float(), self._scale, self._half)).to(x.dtype)
        # NaN and infinity have no code, and are to be seen in the output of their row, as they are in a dense layer.
        lost = ~torch.isfinite(x.flatten(1).sum(1))
        return output.index_fill(0, lost.nonzero()[:, 0], torch.nan) if bool(lost.any()) else output


def _codes_of(x: Float[Tensor, "*shape"], scale: float, half: int) -> UInt8[Tensor, "*shape"]:
    """⌊x/s⌉ limited to the range of a code, from 0 to 255 with `ZERO` for 0."""
    return torch.div(x, scale).round_().clamp_(-half, half - 1).add_(ZERO).to(torch.uint8)


class _Int8Linear(_Int8Layer):
    """A linear layer."""

    @functools.cached_property
    def _table(self) -> Tensor:
        return torch.ops.onednn.qlinear_prepack(self._codes, None)

    def _product(self, codes: UInt8[Tensor, "*n i"]) -> Float[Tensor, "*n o"]:
        flat, zeros = codes.flatten(0, -2), torch.zeros(len(self._scales), dtype=torch.int64)
        given = (flat, self._scale, ZERO, self._table, self._scales, zeros, self.bias, *_FLOAT_OUTPUT, "")
        return torch.ops.onednn.qlinear_pointwise(*given).view(*codes.shape[:-1], -1)


class _Int8Conv(_Int8Layer):
    """A convolution."""

    def __init__(self, layer: Any, term: Integers):
        super().__init__(layer, term)
        self._places = (list(layer.stride), list(layer.padding), list(layer.dilation), layer.groups)

    @functools.cached_property
    def _table(self) -> Tensor:
        return torch.ops.onednn.qconv_prepack(self._codes, self._scales, self._scale, ZERO, *self._places, None)

    def _product(self, codes: UInt8[Tensor, "n c h w"]) -> Float[Tensor, "n o _ _"]:
        zeros = torch.zeros(len(self._scales), dtype=torch.int64)
        given = (codes, self._scale, ZERO, self._table, self._scales, zeros, self.bias, *self._places, *_FLOAT_OUTPUT)
        return torch.ops.onednn.qconv_pointwise(*given, None)


_FLOAT_OUTPUT = (1.0, 0, torch.float32, "none", [])
"""Scale, zero and type of the output, and nothing that is applied to it."""


@functools.cache
def _exact() -> bool:
    """Whether this processor sums the largest products of codes without overflow, and torch has the operation."""
    columns = 64
    codes = torch.stack([torch.zeros(columns), torch.full((columns,), 255.0)]).to(torch.uint8)
    inputs = torch.stack([torch.full((columns,), 127.0), torch.full((columns,), -128.0)])
    wanted = inputs @ (codes.float() - ZERO).T
    term, found = Integers(codes, torch.ones(2, 1).half(), 8), list[Tensor]()
    try:
        layers = (nn.Linear(columns, 2, bias=False), nn.Conv2d(columns, 2, 1, bias=False))
        for layer, kind in zip(layers, (_Int8Linear, _Int8Conv), strict=True):
            layer.register_buffer(GRID, torch.tensor([1.0, 8.0]))
            given = inputs if isinstance(layer, nn.Linear) else inputs[:, :, None, None]
            found.append(kind(layer, term)._product(_codes_of(given, 1.0, 128)).flatten(1))
    except (RuntimeError, AttributeError):
        return False
    return all(torch.equal(one, wanted) for one in found)
