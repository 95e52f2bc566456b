"""This package's discovery methods, called the way the bench calls them."""

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas


def discover(frame: "pandas.DataFrame", kinds: Mapping[str, Any], method: str, **settings: Any) -> Any:
    """The `Discovery` of one method; loading its weights is part of the call, so it is part of the measured time.

    Args:
        frame: the table, without constant columns.
        kinds: kinds of the columns that hold levels, by name.
        method: `module:Class` of the method, as `intaglio.verbs` lists it.
        **settings: settings of the method other than its defaults.
    """
    module, _, name = method.partition(":")
    return getattr(import_module(module), name)(**settings)(frame, kinds=kinds)
