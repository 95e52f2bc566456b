"""Types and shapes checked in every function of the package, at the price of the shapes that a function names."""

import dataclasses
import functools
import inspect
import typing
from types import FunctionType

import jaxtyping
from beartype import BeartypeConf, beartype
from jaxtyping._storage import pop_shape_memo, push_shape_memo

WHOLE = jaxtyping.jaxtyped
WITHIN = {}
"""Checked functions of those within functions."""
CALLED = "__beartype_func"
"""The name by which a checked function knows the one that it checks."""
TYPED = beartype(conf=BeartypeConf(violation_type=TypeError))


def jaxtyped(fn=None, *, typechecker=None):
    """What the import hook puts on every function: the sizes of a call are only kept where an annotation names some."""
    if fn is None:
        return lambda fn: jaxtyped(fn, typechecker=typechecker)
    if inspect.isclass(fn):
        if dataclasses.is_dataclass(fn) and isinstance(vars(fn).get("__init__"), FunctionType):
            fn.__init__ = jaxtyped(fn.__init__, typechecker=typechecker)
        return fn
    if not isinstance(fn, FunctionType):
        return WHOLE(fn, typechecker=typechecker)
    annotations, own = inspect.get_annotations(fn).values(), fn.__qualname__.rpartition(".")[0]
    if any(_to_resolve(one, own) for one in annotations):
        return WHOLE(fn, typechecker=typechecker)
    return _sized(fn, _typed(fn)) if any(map(_named, annotations)) else _typed(fn)


def _typed(fn):
    """The checked form of a function; of one within a function, which is made anew in each call, a copy of the first.

    To write the check costs many times what such a function does. A copy differs in the function that it calls.
    """
    if "<locals>" not in fn.__qualname__:
        return TYPED(fn)
    try:
        key = (fn.__code__, *((name, _alike(one)) for name, one in inspect.get_annotations(fn).items()))
        first = WITHIN.get(key)
    except TypeError:
        return TYPED(fn)
    if first is not None:
        return functools.wraps(fn)(_calling(fn, first))
    typed = TYPED(fn)
    if CALLED in (typed.__kwdefaults__ or {}):
        WITHIN[key] = _calling(None, typed)  # so that what the first one closes over is not kept
    return typed


def _calling(fn, typed):
    """A copy of a checked function that checks the calls of another one."""
    again = FunctionType(typed.__code__, typed.__globals__, typed.__name__, typed.__defaults__, typed.__closure__)
    again.__kwdefaults__ = {**typed.__kwdefaults__, CALLED: fn}
    return again


def _alike(annotation):
    """The annotation, or in place of an array's, which is never the same twice, what it says."""
    if inspect.isclass(annotation) and issubclass(annotation, jaxtyping.AbstractArray):
        return annotation.array_type, annotation.dtypes, annotation.dim_str
    if _named(annotation):
        raise TypeError("an array within another type")
    return annotation


def _sized(fn, typed):
    """A function by its checked form: the same name has the same size in all arguments and results of one call.

    jaxtyping's own wrapper binds the arguments and checks them twice in each call, for better words of the error.
    """

    @functools.wraps(fn)
    def sized(*args, **kwargs):
        push_shape_memo({})
        try:
            return typed(*args, **kwargs)
        finally:
            pop_shape_memo()

    return sized


def _to_resolve(annotation, own: str) -> bool:
    """Whether an annotation is still a string that does not name its own class, or holds sizes that are computed."""
    if isinstance(annotation, str | typing.ForwardRef):
        return getattr(annotation, "__forward_arg__", annotation) != own
    if inspect.isclass(annotation) and issubclass(annotation, jaxtyping.AbstractArray):
        return "{" in annotation.dim_str
    if typing.get_origin(annotation) is typing.Literal:
        return False
    return any(_to_resolve(one, own) for one in typing.get_args(annotation))


def _named(annotation) -> bool:
    """Whether an annotation names sizes."""
    if inspect.isclass(annotation) and issubclass(annotation, jaxtyping.AbstractArray):
        return True
    return any(map(_named, typing.get_args(annotation)))


def check_types(package: str) -> None:
    """Check types and shapes in a package that is not imported yet."""
    jaxtyping.jaxtyped = jaxtyped
    jaxtyping.install_import_hook(package, "beartype.beartype")
