"""Types and shapes checked in every function of the package, at the price of the shapes that a function names."""

import inspect
import typing
from types import FunctionType

import jaxtyping
from beartype import BeartypeConf, beartype

WHOLE = jaxtyping.jaxtyped
TYPED = beartype(conf=BeartypeConf(violation_type=TypeError))


def jaxtyped(fn=None, *, typechecker=None):
    """What the import hook puts on every function: the sizes of a call are only kept where an annotation names some."""
    if fn is None:
        return lambda fn: jaxtyped(fn, typechecker=typechecker)
    if isinstance(fn, FunctionType) and not any(map(_named, inspect.get_annotations(fn).values())):
        return TYPED(fn)
    return WHOLE(fn, typechecker=typechecker)


def _named(annotation) -> bool:
    """Whether an annotation names sizes, or may: one that is still a string."""
    if isinstance(annotation, str):
        return True
    if inspect.isclass(annotation) and issubclass(annotation, jaxtyping.AbstractArray):
        return True
    return any(map(_named, typing.get_args(annotation)))


def check_types(package: str) -> None:
    """Check types and shapes in a package that is not imported yet."""
    jaxtyping.jaxtyped = jaxtyped
    jaxtyping.install_import_hook(package, "beartype.beartype")
