"""From a model to its layers: one forward pass without memory or weights, every operation seen as it is called."""

import contextlib
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from intaglio.energy.layers.layer import SizedLayer, Step
from intaglio.energy.layers.operations import FREE, class_of
from intaglio.energy.layers.torch_functions import PARAMETRIC, family_of, tensors_in, wants_gradient
from intaglio.errors import BadInput


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
    return _whole(parse_by_module(model, (), *inputs, train=train, named=named))


def parse_by_module(
    model: nn.Module, scopes: Collection[str], *inputs: Any, train: bool = False, named: Mapping[str, Any] | None = None
) -> dict[str, Step]:
    """The layers of one call of a model by the module that they were called in: they add up to `parse`'s.

    Args:
        model: any module.
        scopes: names of its modules; of one within another, a layer counts in the inner one.
        inputs: as those of `parse`.
        train: as that of `parse`.
        named: as that of `parse`.

    Returns:
        A step for each scope, and under `""` that of all else.

    Raises:
        BadInput: where the forward pass fails, in the words of its error.
    """
    modules = {scope: model.get_submodule(scope) for scope in scopes}
    named = dict(named or {})
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    empty = {name: _empty(tensor) for name, tensor in tensors.items()}

    def without_memory() -> object:
        moved = _mapped((inputs, named), _empty)
        return torch.func.functional_call(model, empty, moved[0], moved[1])

    try:
        return _seen(without_memory, modules, train=train)
    except Exception:  # whatever a model's own code raises on tensors without values
        # The models whose forward needs values are few; they pay one real call.
        with _buffers_kept(model):
            try:
                found = _seen(lambda: model(*inputs, **named), modules, train=train)
            except Exception as error:
                raise BadInput(f"the forward pass of {type(model).__name__} fails: {error}") from error
    note = f"{type(model).__name__} was run once on its own values, and its layers are those of this path"
    return {**found, "": replace(found[""], notes=(*found[""].notes, note))}


def seen(call: Callable[[], object], *, train: bool = False) -> Step:
    """The layers that a function calls, while it runs."""
    return _whole(_seen(call, {}, train=train))


def _whole(steps: Mapping[str, Step]) -> Step:
    return reduce(Step.__add__, steps.values())


def _seen(call: Callable[[], object], modules: Mapping[str, nn.Module], *, train: bool) -> dict[str, Step]:
    """The layers that a function calls by the module that they are called in."""
    recorder = _Recorder(modules)
    with recorder.attributing(modules), torch.set_grad_enabled(train), recorder:
        call()
    found = recorder.layers.items()
    return {scope: Step(layers, recorder.unparsed[scope], steps=int(not scope)) for scope, layers in found}


class _Recorder(TorchFunctionMode):
    """Sees torch functions before they are taken apart, and counts those that are layers, by the innermost module."""

    def __init__(self, scopes: Collection[str]) -> None:
        super().__init__()
        self.layers: dict[str, dict[SizedLayer, int]] = {scope: {} for scope in ("", *scopes)}
        self.unparsed: dict[str, dict[str, float]] = {scope: {} for scope in ("", *scopes)}
        self._within = [""]

    @contextlib.contextmanager
    def attributing(self, modules: Mapping[str, nn.Module]) -> Iterator[None]:
        """Within the block, calls of these modules are told by hooks."""
        with contextlib.ExitStack() as hooks:
            for scope, module in modules.items():
                enter = module.register_forward_pre_hook(lambda *_, scope=scope: self._within.append(scope))
                leave = module.register_forward_hook(lambda *_: self._within.pop() and None, always_call=True)
                hooks.callback(enter.remove)
                hooks.callback(leave.remove)
            yield

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name = getattr(func, "__name__", str(func))
        inputs = list(tensors_in((args, kwargs)))
        if not inputs or name in FREE:
            return result
        if (layers := PARAMETRIC.get(name)) is not None:
            for layer in layers(args, kwargs, result):
                self._add(layer)
        elif (numbers := _moved(name, inputs, result)) > 0:
            self._count(name, numbers, inputs)
        return result

    def _count(self, name: str, numbers: int, inputs: Sequence[Tensor]) -> None:
        if not inputs[0].is_floating_point():
            return  # indices and masks are few
        kind = class_of(name)
        if kind is None:
            unparsed = self.unparsed[self._within[-1]]
            unparsed[name] = unparsed.get(name, 0.0) + 2.0 * numbers
            return
        family = family_of("elementwise", (("operation", kind),), inputs[0], wants_gradient(inputs), False)
        self._add(SizedLayer(family, (numbers,)))

    def _add(self, layer: SizedLayer) -> None:
        layers = self.layers[self._within[-1]]
        layers[layer] = layers.get(layer, 0) + 1


def _moved(name: str, inputs: Sequence[Tensor], result: Any) -> int:
    """Half of the numbers that an operation reads and writes; 0 for a view, and for what gives no tensor."""
    outputs = list(tensors_in(result))
    inplace = (name.endswith("_") and not name.endswith("__")) or name.startswith("__i") or name == "__setitem__"
    read = sum(one.numel() for one in inputs)
    if inplace and class_of(name) is not None:
        return math.ceil((read + inputs[0].numel()) / 2)
    storages = {_storage(one) for one in inputs}
    fresh = [one for one in outputs if _storage(one) not in storages]
    return math.ceil((read + sum(one.numel() for one in fresh)) / 2) if fresh else 0


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
def _buffers_kept(model: nn.Module) -> Iterator[None]:
    """Within the block, buffers may change, such as running means; they are put back after it."""
    before = {name: buffer.detach().clone() for name, buffer in model.named_buffers()}
    try:
        yield
    finally:
        with torch.no_grad():
            for name, buffer in model.named_buffers():
                buffer.copy_(before[name])
