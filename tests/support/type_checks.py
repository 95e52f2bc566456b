"""Types and shapes checked in every function of the package, at the price of the shapes that a function names."""

import functools
import inspect
import typing
from types import FunctionType

import jaxtyping
from beartype import BeartypeConf, beartype
from jaxtyping._storage import pop_shape_memo, push_shape_memo

WHOLE = jaxtyping.jaxtyped
TYPED = beartype(conf=BeartypeConf(violation_type=TypeError))


def jaxtyped(fn=None, *, typechecker=None):
    """What the import hook puts on every function: the sizes of a call are only kept where an annotation names some."""
    if fn is None:
        return lambda fn: jaxtyped(fn, typechecker=typechecker)
    if not isinstance(fn, FunctionType) or any(map(_to_resolve, inspect.get_annotations(fn).values())):
        return WHOLE(fn, typechecker=typechecker)
    return _sized(TYPED(fn)) if any(map(_named, inspect.get_annotations(fn).values())) else TYPED(fn)


def _sized(typed):
    """A checked function, all of whose arguments and results have the same sizes under the same name in one call.

    jaxtyping's own wrapper binds the arguments and checks them twice in each call, for better words of the error.
    """

    @functools.wraps(typed)
    def sized(*args, **kwargs):
        push_shape_memo({})
        try:
            return typed(*args, **kwargs)
        finally:
            pop_shape_memo()

    return sized


def _to_resolve(annotation) -> bool:
    """Whether an annotation is still a string, or holds sizes that are computed of arguments."""
    if isinstance(annotation, str | typing.ForwardRef):
        return True
    if inspect.isclass(annotation) and issubclass(annotation, jaxtyping.AbstractArray):
        return "{" in annotation.dim_str
    if typing.get_origin(annotation) is typing.Literal:
        return False
    return any(map(_to_resolve, typing.get_args(annotation)))


def _named(annotation) -> bool:
    """Whether an annotation names sizes."""
    if inspect.isclass(annotation) and issubclass(annotation, jaxtyping.AbstractArray):
        return True
    return any(map(_named, typing.get_args(annotation)))


def check_types(package: str) -> None:
    """Check types and shapes in a package that is not imported yet."""
    jaxtyping.jaxtyped = jaxtyped
    jaxtyping.install_import_hook(package, "beartype.beartype")
