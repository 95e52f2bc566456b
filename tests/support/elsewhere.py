"""Tensors that stand for those of an accelerator on a machine without one: mixed with a CPU's they are refused.

    with watched():
        found = work(elsewhere(pixels))

Their numbers lie in the processor's memory. As on an accelerator, single numbers mix with anything, `.cpu()` gives a
plain tensor, and `.numpy()` fails. New tensors are made on `tensor.device`, which is `meta`, or like the tensor.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

CARD = torch.device("meta")  # the one that every build of torch lets a tensor claim to be on
CPU = torch.device("cpu")


class Elsewhere(torch.Tensor):
    """A tensor of the accelerator; `held` has its numbers."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor):
        made = torch.Tensor._make_wrapper_subclass(
            cls, held.size(), strides=held.stride(), dtype=held.dtype, device=CARD, requires_grad=False
        )
        made.held = held
        return made

    def __repr__(self, *, tensor_contents=None):
        return f"Elsewhere({self.held})"

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


def elsewhere(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor as one of the accelerator."""
    return Elsewhere(tensor)


@contextmanager
def watched() -> Iterator[None]:
    """Every operation within, also those that make tensors on `meta`, is taken for the accelerator's or the CPU's."""
    with _Made(), _Watch():
        yield


@contextmanager
def moved(model) -> Iterator[None]:
    """The networks of a model on the accelerator, and afterwards where they were."""
    before = [(holder, dict(holder)) for holder in _holders(model)]
    for holder, tensors in before:
        for name, tensor in tensors.items():
            if tensor is not None:
                away = Elsewhere(tensor.detach())
                kept = isinstance(tensor, torch.nn.Parameter)
                holder[name] = torch.nn.Parameter(away, tensor.requires_grad) if kept else away
    try:
        yield
    finally:
        for holder, tensors in before:
            holder.update(tensors)


def _holders(model):
    """The dictionaries that the modules of a model keep their tensors in."""
    for part in model.parts.values():
        for module in part.modules():
            yield module._parameters
            yield module._buffers


class _Made(TorchFunctionMode):
    """Tensors of Python's numbers, which torch makes on `meta` without them, and lists of a tensor's numbers."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.Tensor.tolist and isinstance(args[0], Elsewhere):
            return args[0].held.tolist()
        if func is torch.Tensor.is_meta.__get__ and isinstance(args[0], Elsewhere):
            return False
        if func in (torch.tensor, torch.as_tensor) and torch.device(kwargs.get("device") or CPU).type == CARD.type:
            return Elsewhere(func(*args, **{**kwargs, "device": CPU}))
        return func(*args, **kwargs)


class _Watch(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


def _run(func, args, kwargs):
    flat, spec = tree_flatten((args, kwargs))
    given = [one for one in flat if isinstance(one, torch.Tensor)]
    away = [one for one in given if isinstance(one, Elsewhere)]
    asked = kwargs.get("device")
    moves = func in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)
    here = [one for one in given if not isinstance(one, Elsewhere) and one.dim()]
    indexes = func in (torch.ops.aten.index.Tensor, torch.ops.aten.index_put.default, torch.ops.aten.index_put_.default)
    if away and here and not moves and not (indexes and isinstance(args[0], Elsewhere)):
        raise RuntimeError(f"{func}: expected all tensors on one device, found some on {CARD} and some on cpu")
    if asked is not None and torch.device(asked).type == CARD.type:
        result_away = True
    else:
        result_away = bool(away) and asked is None
        if moves and func is torch.ops.aten.copy_.default:
            result_away = isinstance(args[0], Elsewhere)
    if asked is not None:
        flat, spec = tree_flatten((args, {**kwargs, "device": CPU}))
    plain = [one.held if isinstance(one, Elsewhere) else one for one in flat]
    args, kwargs = tree_unflatten(plain, spec)
    found = func(*args, **kwargs)
    if func.__name__.split(".")[0].endswith("_") and args and isinstance(flat[0], torch.Tensor):
        return flat[0]
    if not result_away:
        return found
    return tree_map(lambda one: Elsewhere(one) if isinstance(one, torch.Tensor) else one, found)
