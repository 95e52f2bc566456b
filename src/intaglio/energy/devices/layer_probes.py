"""`probe_of`: a layer as something that runs: a call forward, and where it trains, its outputs' gradients."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from intaglio.energy.layers.layer import SizedLayer
from intaglio.errors import IntaglioError

LARGEST_SIDE = 64
"""Most places along a side of a probe's pictures."""
Sizes = Mapping[str, int]
Attributes = Mapping[str, Any]


@dataclass(frozen=True)
class Probe:
    """A layer with its inputs on a device."""

    call: Callable[[], Tensor]
    """The forward pass."""
    leaves: tuple[Tensor, ...]
    """Inputs and weights that are given gradients."""


@dataclass(frozen=True)
class _Maker:
    """Makes tensors and modules of one precision on one device."""

    device: torch.device
    dtype: torch.dtype
    train: bool
    input_grad: bool
    weight_grad: bool

    def tensor(self, *shape: int) -> Tensor:
        """An input: random numbers, since zeros cost less power."""
        return torch.randn(shape, device=self.device, dtype=self.dtype).requires_grad_(self.train and self.input_grad)

    def module(self, module: nn.Module) -> nn.Module:
        module = module.to(self.device, self.dtype)
        for weight in module.parameters():
            weight.requires_grad_(self.train and self.weight_grad)
        return module


def probe_of(layer: SizedLayer, device: torch.device) -> Probe:
    """The probe of a layer. Raises `IntaglioError` where no probe is known for its kind or attributes."""
    family = layer.family
    if family.kind not in MAKERS:
        raise IntaglioError(f"no probe is known for a layer of kind {family.kind}")
    dtype = getattr(torch, family.dtype, None)
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise IntaglioError(f"no probe is known for layers of {family.dtype}")
    maker = _Maker(device, dtype, family.train, family.input_grad, family.weight_grad)
    try:
        call, *holders = MAKERS[family.kind](maker, layer.all_sizes, dict(family.attributes))
    except (ValueError, RuntimeError, KeyError) as error:
        raise IntaglioError(f"no probe of {family} can be made: {error}") from None
    tensors = [
        one for holder in holders for one in (holder.parameters() if isinstance(holder, nn.Module) else [holder])
    ]
    return Probe(call, tuple(one for one in tensors if one.requires_grad))


def feasible(layer: SizedLayer) -> SizedLayer:
    """The layer with a number of positions that whole pictures have; others as they are."""
    if layer.family.kind != "convolution" or "positions" not in layer.family.free:
        return layer
    side, batch, dimensions = _pictures(layer.all_sizes, dict(layer.family.attributes))
    sizes = {**layer.all_sizes, "positions": batch * side**dimensions}
    return layer.at(sizes[name] for name in layer.family.free)


def _pictures(n: Sizes, a: Attributes) -> tuple[int, int, int]:
    """Side, batch and dimensions of pictures with about so many positions, exact where a good side divides them."""
    dimensions, positions = str(a.get("kernel", "3x3")).count("x") + 1, n["positions"]
    most = min(LARGEST_SIDE, max(1, round(positions ** (1 / dimensions))))
    sides = [side for side in range(most, 0, -1) if side**dimensions <= positions]
    exact = next((side for side in sides if positions % side**dimensions == 0), 1)
    side = exact if 4 * exact >= sides[0] else sides[0]
    return side, max(1, round(positions / side**dimensions)), dimensions


def _convolution(make: _Maker, n: Sizes, a: Attributes) -> tuple[Any, ...]:
    side, batch, dimensions = _pictures(n, a)
    kernel = tuple(int(part) for part in str(a["kernel"]).split("x"))
    groups = n["c_in"] if a.get("depthwise") else int(a.get("groups", 1))
    stride, transposed = int(a.get("stride", 1)), bool(a.get("transposed"))
    plain: Any = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dimensions - 1]
    backward: Any = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[dimensions - 1]
    padding = tuple(part // 2 for part in kernel)
    module = (backward if transposed else plain)(
        n["c_in"], n["c_out"], kernel, stride, padding, groups=groups, bias=bool(a.get("bias"))
    )
    module = make.module(module)
    x = make.tensor(batch, n["c_in"], *[side if transposed else side * stride] * dimensions)
    return lambda: module(x), module, x


def _linear(make: _Maker, n: Sizes, a: Attributes) -> tuple[Any, ...]:
    module, x = (
        make.module(nn.Linear(n["c_in"], n["c_out"], bool(a.get("bias")))),
        make.tensor(n["positions"], n["c_in"]),
    )
    return lambda: module(x), module, x


def _matmul(make: _Maker, n: Sizes, a: Attributes) -> tuple[Any, ...]:
    x = make.tensor(n["batch"], n["rows"], n["inner"])
    y = make.tensor(n["batch"], n["inner"], n["columns"]).detach().requires_grad_(make.train and make.weight_grad)
    return lambda: torch.bmm(x, y), x, y


def _attention(make: _Maker, n: Sizes, a: Attributes) -> tuple[Any, ...]:
    query = make.tensor(1, n["heads"], n["queries"], n["width"])
    wanted = make.train and make.weight_grad
    key, value = (make.tensor(1, n["heads"], n["keys"], n["width"]).detach().requires_grad_(wanted) for _ in range(2))
    mask = torch.zeros(n["queries"], n["keys"], device=make.device, dtype=make.dtype) if a.get("masked") else None
    causal = bool(a.get("causal")) and mask is None
    attend = functional.scaled_dot_product_attention
    return lambda: attend(query, key, value, attn_mask=mask, is_causal=causal), query, key, value


def _norm(make: _Maker, n: Sizes, a: Attributes) -> tuple[Any, ...]:
    channels, affine, kind = n["channels"], bool(a.get("affine", True)), a.get("norm", "layer")
    if kind in ("layer", "rms"):
        module = nn.LayerNorm(channels, elementwise_affine=affine)
        module = nn.RMSNorm(channels, elementwise_affine=affine) if kind == "rms" else module
        module, x = make.module(module), make.tensor(n["positions"], channels)
        return lambda: module(x), module, x
    side, batch, _ = _pictures(n, {"kernel": "1x1"})
    if kind == "group":
        module = nn.GroupNorm(math.gcd(32, channels), channels, affine=affine)
    else:
        module = (nn.BatchNorm2d if kind == "batch" else nn.InstanceNorm2d)(channels, affine=affine)
    module = make.module(module).train(not a.get("running"))
    x = make.tensor(batch, channels, side, side)
    return lambda: module(x), module, x


def _elementwise(make: _Maker, n: Sizes, a: Attributes) -> tuple[Any, ...]:
    """`numbers` are half of those read and written."""
    numbers, operation = n["numbers"], a.get("operation", "arithmetic")
    x = make.tensor(max(1, {"arithmetic": numbers * 2 // 3, "reduction": 2 * numbers}.get(operation, numbers)))
    if operation == "arithmetic":
        y = torch.randn_like(x).detach()
        return lambda: x + y, x
    calls = {"copy": x.clone, "transcendental": lambda: functional.silu(x), "reduction": x.sum}
    return calls[operation], x


def _embedding(make: _Maker, n: Sizes, a: Attributes) -> tuple[Any, ...]:
    module = make.module(nn.Embedding(n["rows"], n["width"]))
    index = torch.randint(n["rows"], (n["positions"],), device=make.device)
    return lambda: module(index), module


def _lstm(make: _Maker, n: Sizes, a: Attributes) -> tuple[Any, ...]:
    layers, both = int(a.get("layers", 1)), bool(a.get("bidirectional"))
    module = make.module(nn.LSTM(n["c_in"], n["hidden"], layers, bidirectional=both))
    x = make.tensor(n["steps"], n["batch"], n["c_in"])
    return lambda: module(x)[0], module, x


def _optimiser(make: _Maker, n: Sizes, a: Attributes) -> tuple[Any, ...]:
    """One update of AdamW, its moments made before."""
    each = max(1, n["numbers"] // n["tensors"])
    weights = [torch.zeros(each, device=make.device, dtype=make.dtype, requires_grad=True) for _ in range(n["tensors"])]
    for weight in weights:
        weight.grad = torch.randn_like(weight)
    optimiser = torch.optim.AdamW(weights, lr=1e-9, fused=True)

    def update() -> Tensor:
        optimiser.step()
        return weights[0]

    return (update,)


MAKERS: Mapping[str, Callable[[_Maker, Sizes, Attributes], tuple[Any, ...]]] = {
    "convolution": _convolution,
    "linear": _linear,
    "matmul": _matmul,
    "attention": _attention,
    "norm": _norm,
    "elementwise": _elementwise,
    "embedding": _embedding,
    "lstm": _lstm,
    "optimiser": _optimiser,
}
"""Each gives the forward call, and the modules and tensors that it holds."""
