"""From a model to its layers: one forward pass without memory or weights, every operation seen as it is called."""

import contextlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from intaglio.energy.layers.layer import Attributes, Family, Layer, Step
from intaglio.energy.layers.operations import FREE, class_of
from intaglio.errors import BadInput

Sizes = dict[str, int]


def parse(model: nn.Module, *inputs: Any, train: bool = False, named: Mapping[str, Any] | None = None) -> Step:
    """The layers of one call of a model; with `train` those of its forward and backward pass.

    The model runs on tensors without memory, so that size does not matter; where it cannot (a tensor that is no
    parameter or buffer, a decision on values), it runs once as it is. Roles follow from what requires a gradient, in
    inputs and weights; without `train` no layer has a backward pass. The model is left as it was.

    Args:
        model: any module.
        inputs: its arguments; tensors give shapes, precisions and whether they want a gradient.
        train: whether the call is one of training.
        named: its keyword arguments.

    Raises:
        BadInput: where the forward pass fails, in the words of its error.
    """
    named = dict(named or {})
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    empty = {name: _empty(tensor) for name, tensor in tensors.items()}

    def without_memory() -> object:
        moved = _mapped((inputs, named), _empty)
        return torch.func.functional_call(model, empty, moved[0], moved[1])

    try:
        return seen(without_memory, train=train)
    except Exception:  # whatever a model's own code raises on tensors without values
        # The models whose forward needs values are few; they pay one real call.
        with _buffers_kept(model):
            try:
                found = seen(lambda: model(*inputs, **named), train=train)
            except Exception as error:
                raise BadInput(f"the forward pass of {type(model).__name__} fails: {error}") from error
    note = f"{type(model).__name__} was run once on its own values, and its layers are those of this path"
    return Step(found.layers, found.unparsed, (*found.notes, note))


def seen(call: Callable[[], object], *, train: bool = False) -> Step:
    """The layers that a function calls, while it runs."""
    recorder = _Recorder()
    with torch.set_grad_enabled(train), recorder:
        call()
    return Step(dict(recorder.layers), dict(recorder.unparsed), tuple(recorder.notes))


class _Recorder(TorchFunctionMode):
    """Sees torch functions before they are taken apart, and counts those that are layers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers: dict[Layer, int] = {}
        self.unparsed: dict[str, float] = {}
        self.notes: dict[str, None] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name = getattr(func, "__name__", str(func))
        inputs = list(_tensors((args, kwargs)))
        if not inputs or name in FREE:
            return result
        if (layers := PARAMETRIC.get(name)) is not None:
            for layer in layers(args, kwargs, result):
                self.layers[layer] = self.layers.get(layer, 0) + 1
        elif (numbers := _moved(name, inputs, result)) > 0:
            self._count(name, numbers, inputs)
        return result

    def _count(self, name: str, numbers: int, inputs: Sequence[Tensor]) -> None:
        kind = class_of(name)
        if kind is None:
            self.unparsed[name] = self.unparsed.get(name, 0.0) + 2.0 * numbers
            return
        family = _family("elementwise", (("operation", kind),), inputs[0], _wants(inputs), False)
        layer = Layer(family, (numbers,))
        self.layers[layer] = self.layers.get(layer, 0) + 1


def _moved(name: str, inputs: Sequence[Tensor], result: Any) -> int:
    """Half of the numbers that an operation reads and writes; 0 for a view, and for what gives no tensor."""
    outputs = list(_tensors(result))
    inplace = (name.endswith("_") and not name.endswith("__")) or name.startswith("__i") or name == "__setitem__"
    read = sum(one.numel() for one in inputs)
    if inplace and class_of(name) is not None:
        return math.ceil((read + inputs[0].numel()) / 2)
    storages = {_storage(one) for one in inputs}
    fresh = [one for one in outputs if _storage(one) not in storages]
    return math.ceil((read + sum(one.numel() for one in fresh)) / 2) if fresh else 0


def _linear(args: Any, kwargs: Any, result: Tensor) -> list[Layer]:
    x, weight, bias = _arguments(args, kwargs, "input", "weight", "bias")
    sizes = {"c_in": x.shape[-1], "c_out": weight.shape[0], "positions": x.numel() // max(1, x.shape[-1])}
    return _layer("linear", (("bias", bias is not None),), sizes, x, _wants([x]), _wants([weight, bias]))


def _convolution(dimensions: int, transposed: bool = False) -> Callable[[Any, Any, Tensor], list[Layer]]:
    names = (
        "input",
        "weight",
        "bias",
        "stride",
        "padding",
        *(("output_padding", "groups", "dilation") if transposed else ("dilation", "groups")),
    )

    def found(args: Any, kwargs: Any, result: Tensor) -> list[Layer]:
        given = dict(zip(names, _arguments(args, kwargs, *names), strict=True))
        x, weight = given["input"], given["weight"]
        channels = x.shape[-dimensions - 1]
        c_out, groups = result.shape[-dimensions - 1], int(given["groups"] or 1)
        kernel = "x".join(str(side) for side in weight.shape[2:])
        stride = given["stride"] if isinstance(given["stride"], int) else max(given["stride"] or (1,))
        attributes: dict[str, int | str | bool] = {
            "kernel": kernel,
            "stride": int(stride),
            "taps": math.prod(weight.shape[2:]),
        }
        attributes["bias"] = given["bias"] is not None
        attributes |= {"depthwise": True} if groups == channels > 1 else {"groups": groups} if groups > 1 else {}
        attributes |= {"transposed": True} if transposed else {}
        positions = (x if transposed else result).numel() // (channels if transposed else c_out)
        sizes = {"c_in": channels, "c_out": c_out, "positions": positions}
        return _layer("convolution", tuple(attributes.items()), sizes, x, _wants([x]), _wants([weight, given["bias"]]))

    return found


def _norm(name: str, channels_last: bool) -> Callable[[Any, Any, Tensor], list[Layer]]:
    names = {
        "group": ("input", "num_groups", "weight", "bias"),
        "layer": ("input", "normalized_shape", "weight", "bias"),
        "rms": ("input", "normalized_shape", "weight"),
        "batch": ("input", "running_mean", "running_var", "weight", "bias", "training"),
        "instance": ("input", "running_mean", "running_var", "weight", "bias"),
    }[name]

    def found(args: Any, kwargs: Any, result: Tensor) -> list[Layer]:
        given = dict(zip(names, _arguments(args, kwargs, *names), strict=True))
        x, weight = given["input"], given.get("weight")
        if channels_last:
            shape = given["normalized_shape"]
            channels = math.prod(shape) if not isinstance(shape, int) else shape
        else:
            channels = x.shape[1]
        attributes = (("norm", name), ("affine", weight is not None), ("running", bool(given.get("training") is False)))
        sizes = {"channels": channels, "positions": x.numel() // max(1, channels)}
        return _layer("norm", attributes, sizes, x, _wants([x]), _wants([weight]))

    return found


def _attention(args: Any, kwargs: Any, result: Tensor) -> list[Layer]:
    query, key, value, mask = _arguments(args, kwargs, "query", "key", "value", "attn_mask")
    causal = bool(kwargs.get("is_causal", args[5] if len(args) > 5 else False))
    *batch, queries, width = query.shape
    sizes = {"heads": math.prod(batch), "queries": queries, "keys": key.shape[-2], "width": width}
    attributes = (("causal", causal), ("masked", mask is not None))
    return _layer("attention", attributes, sizes, query, _wants([query]), _wants([key, value]))


def _product(args: Any, kwargs: Any, result: Tensor) -> list[Layer]:
    a, b = [one for one in _tensors((args, kwargs))][-2:]
    rows = a.shape[-2] if a.dim() > 1 else 1
    columns = b.shape[-1] if b.dim() > 1 else 1
    batch = max(1, result.numel() // max(1, rows * columns))
    sizes = {"batch": batch, "rows": rows, "inner": a.shape[-1], "columns": columns}
    return _layer("matmul", (), sizes, a, _wants([a]), _wants([b]))


def _embedding(args: Any, kwargs: Any, result: Tensor) -> list[Layer]:
    index, weight = _arguments(args, kwargs, "input", "weight")
    sizes = {"width": weight.shape[1], "positions": index.numel(), "rows": weight.shape[0]}
    return _layer("embedding", (), sizes, weight, False, _wants([weight]))


def _lstm(args: Any, kwargs: Any, result: Any) -> list[Layer]:
    x, weights = args[0], [one for one in args if isinstance(one, list | tuple)][-1]
    plain = [value for value in args if isinstance(value, bool | int | float)]
    layers = next(int(value) for value in plain if not isinstance(value, bool))
    bidirectional, batch_first = bool(plain[-2]), bool(plain[-1])
    steps, batch = (x.shape[1], x.shape[0]) if batch_first else x.shape[:2]
    attributes = (("layers", layers), ("bidirectional", bidirectional))
    sizes = {"c_in": x.shape[-1], "hidden": weights[1].shape[1], "steps": steps, "batch": batch}
    return _layer("lstm", attributes, sizes, x, _wants([x]), _wants(weights))


def _attention_module(args: Any, kwargs: Any, result: Any) -> list[Layer]:
    """`torch.nn.MultiheadAttention`: three projections, attention, and one projection."""
    query, key, value, width, heads = args[:5]
    weights, trained = kwargs.get("in_proj_weight", args[5] if len(args) > 5 else None), query
    attributes = (("bias", True),)
    steps, batch = (query.shape[0], query.shape[1]) if query.dim() == 3 else (query.shape[0], 1)
    layers = []
    for one in (query, key, value, query):
        sizes = {"c_in": one.shape[-1], "c_out": width, "positions": one.numel() // one.shape[-1]}
        layers += _layer("linear", attributes, sizes, one, _wants([one]), _wants([weights]))
    sizes = {"heads": batch * heads, "queries": steps, "keys": key.shape[0], "width": width // heads}
    trains = _wants([trained, weights])
    return layers + _layer("attention", (("causal", False), ("masked", False)), sizes, query, trains, trains)


PARAMETRIC: Mapping[str, Callable[[Any, Any, Any], list[Layer]]] = {
    "linear": _linear,
    "conv1d": _convolution(1),
    "conv2d": _convolution(2),
    "conv3d": _convolution(3),
    "conv_transpose1d": _convolution(1, transposed=True),
    "conv_transpose2d": _convolution(2, transposed=True),
    "conv_transpose3d": _convolution(3, transposed=True),
    "group_norm": _norm("group", channels_last=False),
    "batch_norm": _norm("batch", channels_last=False),
    "instance_norm": _norm("instance", channels_last=False),
    "layer_norm": _norm("layer", channels_last=True),
    "rms_norm": _norm("rms", channels_last=True),
    "scaled_dot_product_attention": _attention,
    "multi_head_attention_forward": _attention_module,
    **dict.fromkeys(("matmul", "__matmul__", "bmm", "mm", "baddbmm", "addmm", "mv", "addbmm"), _product),
    "embedding": _embedding,
    "lstm": _lstm,
}
"""The functions that are layers of their own; those that hold others inside stand for all of them."""


def _layer(
    kind: str, attributes: Attributes, sizes: Sizes, of: Tensor, input_grad: bool, weight_grad: bool
) -> list[Layer]:
    family = _family(kind, attributes, of, input_grad, weight_grad)
    return [Layer(family, tuple(int(sizes[name]) for name in family.free))] if min(sizes.values()) > 0 else []


def _family(kind: str, attributes: Attributes, of: Tensor, input_grad: bool, weight_grad: bool) -> Family:
    dtype = of.dtype
    if torch.is_autocast_enabled(of.device.type if of.device.type != "meta" else "cpu") and kind != "elementwise":
        dtype = torch.get_autocast_dtype(of.device.type if of.device.type != "meta" else "cpu")
    name = str(dtype).removeprefix("torch.")
    return Family(kind, attributes, (), input_grad or weight_grad, input_grad, weight_grad, name)


def _wants(tensors: Iterable[Tensor | None]) -> bool:
    """Whether one of the tensors is given a gradient."""
    return torch.is_grad_enabled() and any(one is not None and one.requires_grad for one in tensors)


def _arguments(args: Sequence[Any], kwargs: Mapping[str, Any], *names: str) -> list[Any]:
    """Arguments by name, wherever they were given; None where they were not."""
    return [args[k] if k < len(args) else kwargs.get(name) for k, name in enumerate(names)]


def _tensors(value: Any) -> Iterable[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _tensors(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _tensors(one)


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _empty(tensor: Tensor) -> Tensor:
    """A tensor of the same shape and role without memory."""
    return torch.empty_like(tensor, device="meta").requires_grad_(tensor.requires_grad)


def _mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        return {key: _mapped(one, change) for key, one in value.items()}
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return type(value)(_mapped(one, change) for one in value)
    return value


@contextlib.contextmanager
def _buffers_kept(model: nn.Module) -> Iterable[None]:
    """Within the block, buffers may change, such as running means; they are put back after it."""
    before = {name: buffer.detach().clone() for name, buffer in model.named_buffers()}
    try:
        yield
    finally:
        with torch.no_grad():
            for name, buffer in model.named_buffers():
                buffer.copy_(before[name])
