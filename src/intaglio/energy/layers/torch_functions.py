"""Torch functions that are layers: from the arguments of a call to families and sizes."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from intaglio.energy.layers.layer import Attributes, LayerFamily, SizedLayer

Sizes = dict[str, int]


def _linear(args: Any, kwargs: Any, result: Tensor) -> list[SizedLayer]:
    x, weight, bias = _arguments(args, kwargs, "input", "weight", "bias")
    sizes = {"c_in": x.shape[-1], "c_out": weight.shape[0], "positions": x.numel() // max(1, x.shape[-1])}
    return _layer(
        "linear", (("bias", bias is not None),), sizes, x, wants_gradient([x]), wants_gradient([weight, bias])
    )


def _convolution(dimensions: int, transposed: bool = False) -> Callable[[Any, Any, Tensor], list[SizedLayer]]:
    names = (
        "input",
        "weight",
        "bias",
        "stride",
        "padding",
        *(("output_padding", "groups", "dilation") if transposed else ("dilation", "groups")),
    )

    def found(args: Any, kwargs: Any, result: Tensor) -> list[SizedLayer]:
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
        return _layer(
            "convolution",
            tuple(attributes.items()),
            sizes,
            x,
            wants_gradient([x]),
            wants_gradient([weight, given["bias"]]),
        )

    return found


def _norm(name: str, channels_last: bool) -> Callable[[Any, Any, Tensor], list[SizedLayer]]:
    names = {
        "group": ("input", "num_groups", "weight", "bias"),
        "layer": ("input", "normalized_shape", "weight", "bias"),
        "rms": ("input", "normalized_shape", "weight"),
        "batch": ("input", "running_mean", "running_var", "weight", "bias", "training"),
        "instance": ("input", "running_mean", "running_var", "weight", "bias"),
    }[name]

    def found(args: Any, kwargs: Any, result: Tensor) -> list[SizedLayer]:
        given = dict(zip(names, _arguments(args, kwargs, *names), strict=True))
        x, weight = given["input"], given.get("weight")
        if channels_last:
            shape = given["normalized_shape"]
            channels = math.prod(shape) if not isinstance(shape, int) else shape
        else:
            channels = x.shape[1]
        attributes = (("norm", name), ("affine", weight is not None), ("running", bool(given.get("training") is False)))
        sizes = {"channels": channels, "positions": x.numel() // max(1, channels)}
        return _layer("norm", attributes, sizes, x, wants_gradient([x]), wants_gradient([weight]))

    return found


def _attention(args: Any, kwargs: Any, result: Tensor) -> list[SizedLayer]:
    query, key, value, mask = _arguments(args, kwargs, "query", "key", "value", "attn_mask")
    causal = bool(kwargs.get("is_causal", args[5] if len(args) > 5 else False))
    *batch, queries, width = query.shape
    sizes = {"heads": math.prod(batch), "queries": queries, "keys": key.shape[-2], "width": width}
    attributes = (("causal", causal), ("masked", mask is not None))
    return _layer("attention", attributes, sizes, query, wants_gradient([query]), wants_gradient([key, value]))


def _product(args: Any, kwargs: Any, result: Tensor) -> list[SizedLayer]:
    a, b = list(tensors_in((args, kwargs)))[-2:]
    rows = a.shape[-2] if a.dim() > 1 else 1
    columns = b.shape[-1] if b.dim() > 1 else 1
    batch = max(1, result.numel() // max(1, rows * columns))
    sizes = {"batch": batch, "rows": rows, "inner": a.shape[-1], "columns": columns}
    return _layer("matmul", (), sizes, a, wants_gradient([a]), wants_gradient([b]))


def _embedding(args: Any, kwargs: Any, result: Tensor) -> list[SizedLayer]:
    index, weight = _arguments(args, kwargs, "input", "weight")
    sizes = {"width": weight.shape[1], "positions": index.numel(), "rows": weight.shape[0]}
    return _layer("embedding", (), sizes, weight, False, wants_gradient([weight]))


def _lstm(args: Any, kwargs: Any, result: Any) -> list[SizedLayer]:
    x, weights = args[0], [one for one in args if isinstance(one, list | tuple)][-1]
    plain = [value for value in args if isinstance(value, bool | int | float)]
    layers = next(int(value) for value in plain if not isinstance(value, bool))
    bidirectional, batch_first = bool(plain[-2]), bool(plain[-1])
    steps, batch = (x.shape[1], x.shape[0]) if batch_first else x.shape[:2]
    attributes = (("layers", layers), ("bidirectional", bidirectional))
    sizes = {"c_in": x.shape[-1], "hidden": weights[1].shape[1], "steps": steps, "batch": batch}
    return _layer("lstm", attributes, sizes, x, wants_gradient([x]), wants_gradient(weights))


def _attention_module(args: Any, kwargs: Any, result: Any) -> list[SizedLayer]:
    """`torch.nn.MultiheadAttention`: three projections, attention, and one projection."""
    query, key, value, width, heads = args[:5]
    weights, trained = kwargs.get("in_proj_weight", args[5] if len(args) > 5 else None), query
    attributes = (("bias", True),)
    steps, batch = (query.shape[0], query.shape[1]) if query.dim() == 3 else (query.shape[0], 1)
    layers = []
    for one in (query, key, value, query):
        sizes = {"c_in": one.shape[-1], "c_out": width, "positions": one.numel() // one.shape[-1]}
        layers += _layer("linear", attributes, sizes, one, wants_gradient([one]), wants_gradient([weights]))
    sizes = {"heads": batch * heads, "queries": steps, "keys": key.shape[0], "width": width // heads}
    trains = wants_gradient([trained, weights])
    return layers + _layer("attention", (("causal", False), ("masked", False)), sizes, query, trains, trains)


PARAMETRIC: Mapping[str, Callable[[Any, Any, Any], list[SizedLayer]]] = {
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
) -> list[SizedLayer]:
    family = family_of(kind, attributes, of, input_grad, weight_grad)
    return [SizedLayer(family, tuple(int(sizes[name]) for name in family.free))] if min(sizes.values()) > 0 else []


def family_of(kind: str, attributes: Attributes, of: Tensor, input_grad: bool, weight_grad: bool) -> LayerFamily:
    """The family of a call that computes on this tensor, in autocast's precision where that is on."""
    dtype, device = of.dtype, "cpu" if of.device.type == "meta" else of.device.type
    if kind != "elementwise" and torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
    name = str(dtype).removeprefix("torch.")
    return LayerFamily(kind, attributes, (), input_grad or weight_grad, input_grad, weight_grad, name)


def wants_gradient(tensors: Iterable[Tensor | None]) -> bool:
    """Whether one of the tensors is given a gradient."""
    return torch.is_grad_enabled() and any(one is not None and one.requires_grad for one in tensors)


def _arguments(args: Sequence[Any], kwargs: Mapping[str, Any], *names: str) -> list[Any]:
    """Arguments by name, wherever they were given; None where they were not."""
    return [args[k] if k < len(args) else kwargs.get(name) for k, name in enumerate(names)]


def tensors_in(value: Any) -> Iterable[Tensor]:
    """Tensors in nested lists, tuples and mappings."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from tensors_in(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from tensors_in(one)
