"""Rules of layer-wise relevance propagation, as changes of what torch differentiates while a network is called."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

Rule = Callable[[Callable[..., Tensor], tuple[Any, ...], Mapping[str, Any]], Tensor]
RuleName = Literal["normalisation", "activation", "product", "attention"]
USUAL: tuple[RuleName, ...] = ("normalisation", "activation", "product")


class RelevanceRules(TorchFunctionMode):
    """While the block runs, torch computes what it always does, and differentiates by rules of relevance.

    - `normalisation`: the scale is a constant, (x - mean) / sd with sd not differentiated.
    - `activation`: phi(x) is x times the constant phi(x) / x, for SiLU, GELU and Mish; a ReLU is so already.
    - `product`: of two tensors that both are differentiated, half goes to each factor.
    - `attention`: its softmax is a constant, so that relevance flows through the values alone.

    All else, linear layers and convolutions, has its plain gradient. Functions and modules are met alike, and no
    network is changed. In a network of linear layers, gates and products without biases, the sum of x times its
    coefficient is the output.
    """

    def __init__(self, names: Collection[RuleName] = USUAL):
        super().__init__()
        self.rules = {function: rule for name in names for function, rule in RULES[name].items()}

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        """The function's own value, with the derivative of its rule."""
        given = kwargs or {}
        rule = self.rules.get(func)
        return func(*args, **given) if rule is None or not torch.is_grad_enabled() else rule(func, args, given)


def _constant(func: Callable[..., Tensor], args: tuple[Any, ...], given: Mapping[str, Any]) -> Tensor:
    return func(*args, **given).detach()


def _normal_gate(x: Tensor, approximate: str) -> Tensor:
    if approximate == "none":
        return (1 + torch.erf(x / 2**0.5)) / 2
    return (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3))) / 2


GATES: Mapping[Any, Callable[[Tensor, Mapping[str, Any]], Tensor]] = {
    functional.silu: lambda x, given: torch.sigmoid(x),
    functional.gelu: lambda x, given: _normal_gate(x, given.get("approximate", "none")),
    functional.mish: lambda x, given: torch.tanh(functional.softplus(x)),
}
"""phi(x) / x of each activation phi, which is defined at 0 too."""


def _activated(func: Callable[..., Tensor], args: tuple[Any, ...], given: Mapping[str, Any]) -> Tensor:
    x = args[0] if args else given["input"]
    return x * GATES[func](x.detach(), given)


def _product(func: Callable[..., Tensor], args: tuple[Any, ...], given: Mapping[str, Any]) -> Tensor:
    both = len(args) == 2 and all(isinstance(one, Tensor) and one.requires_grad for one in args)
    found = func(*args, **given)
    return (found + found.detach()) / 2 if both else found


def _normalised(func: Callable[..., Tensor], args: tuple[Any, ...], given: Mapping[str, Any]) -> Tensor:
    """With a deviation that is a constant, so that the function is linear in its input."""
    return NORMALISATIONS[func](*args, **given)


def _layer_norm(
    input: Tensor, normalized_shape: Any, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    axes = tuple(range(-len(tuple(normalized_shape)), 0))
    return _affine(_scaled(input, axes, eps, centred=True), weight, bias)


def _rms_norm(input: Tensor, normalized_shape: Any, weight: Tensor | None = None, eps: float | None = None) -> Tensor:
    axes = tuple(range(-len(tuple(normalized_shape)), 0))
    least = torch.finfo(input.dtype).eps if eps is None else eps
    return _affine(_scaled(input, axes, least, centred=False), weight, None)


def _group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    grouped = input.unflatten(1, (num_groups, -1))
    found = _scaled(grouped, tuple(range(2, grouped.ndim)), eps, centred=True).flatten(1, 2)
    shape = (-1, *[1] * (input.ndim - 2))
    return _affine(found, *(None if one is None else one.view(shape) for one in (weight, bias)))


def _scaled(x: Tensor, axes: tuple[int, ...], eps: float, *, centred: bool) -> Tensor:
    """Over its deviation, which is a constant."""
    if centred:
        x = x - x.mean(axes, keepdim=True)
    return x / (x.detach().square().mean(axes, keepdim=True) + eps).sqrt()


def _affine(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


NORMALISATIONS: Mapping[Any, Callable[..., Tensor]] = {
    functional.layer_norm: _layer_norm,
    functional.group_norm: _group_norm,
    functional.rms_norm: _rms_norm,
}


def _attended(func: Callable[..., Tensor], args: tuple[Any, ...], given: Mapping[str, Any]) -> Tensor:
    """Attention with a pattern that is a constant; the fused kernel keeps none, so that it is made here."""
    names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
    known = {**dict(zip(names, args, strict=False)), **given}
    query, key, value = (known[name] for name in names[:3])
    mask, scale = known.get("attn_mask"), known.get("scale") or query.shape[-1] ** -0.5
    if known.get("enable_gqa"):
        groups = query.shape[-3] // key.shape[-3]
        key, value = (one.repeat_interleave(groups, -3) for one in (key, value))
    scores = query.detach() @ key.detach().transpose(-2, -1) * scale
    if known.get("is_causal"):
        allowed = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        scores = scores.masked_fill(~allowed, -torch.inf)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    return scores.softmax(-1) @ value


RULES: Mapping[RuleName, Mapping[Any, Rule]] = {
    "normalisation": {
        **dict.fromkeys(NORMALISATIONS, _normalised),
        **dict.fromkeys((torch.rsqrt, Tensor.rsqrt), _constant),  # of norms that are written out
    },
    "activation": dict.fromkeys(GATES, _activated),
    "product": dict.fromkeys((torch.mul, Tensor.mul, torch.multiply, Tensor.multiply), _product),
    "attention": {
        **dict.fromkeys((functional.softmax, torch.softmax, Tensor.softmax), _constant),
        functional.scaled_dot_product_attention: _attended,
    },
}
"""The rule of each function that a name stands for."""
