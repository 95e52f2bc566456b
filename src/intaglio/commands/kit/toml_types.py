"""Types of the values in a file of settings, held against those of the flags."""

import types
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from intaglio.data_files import shown

WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", Path: "a path"}


def type_fault(value: Any, hint: Any) -> str:
    """The reason why no flag of this type takes the value, as the end of a sentence; empty where one may."""
    if isinstance(value, list):
        if len(value) == 1 or _several(hint):
            return ""
        return f"to {shown(value)}, where one value is due"
    kinds = _alternatives(hint)
    wrong_bool = isinstance(value, bool) != (bool in kinds) and (isinstance(value, bool) or kinds == [bool])
    if wrong_bool or (isinstance(value, float) and kinds == [int]):
        return f"to {_told(value)}, where {due(hint)} is due"
    return ""


def due(hint: Any) -> str:
    """What a flag of this type takes, in words."""
    kind = _alternatives(hint)[0]
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(str, get_args(kind)))}"
    return "a list" if _several(hint) else WORDS.get(kind, "another value")


def _told(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else shown(value)


def _several(hint: Any) -> bool:
    return any(get_origin(kind) in (tuple, list) for kind in _alternatives(hint))


def _alternatives(hint: Any) -> list[Any]:
    """The types that a hint joins by `|`, without None."""
    if get_origin(hint) in (Union, types.UnionType):
        return [kind for kind in get_args(hint) if kind is not type(None)]
    return [hint]
