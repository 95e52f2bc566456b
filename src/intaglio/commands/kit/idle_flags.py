"""Flags that were given and that the chosen method or way of working does not use."""

import dataclasses
from collections.abc import Iterable
from typing import Any

from intaglio.commands.kit.source_settings import default_of
from intaglio.errors import BadInput


def idle_flags(command: Any, names: Iterable[str]) -> list[str]:
    """Those of the flags that are unlike their defaults, as they are typed."""
    fields = {field.name: field for field in dataclasses.fields(command)}
    given = [name for name in names if getattr(command, name) != default_of(fields[name])]
    return [f"--{name.replace('_', '-')}" for name in given]


def refuse_idle(command: Any, names: Iterable[str], reason: str) -> None:
    """Raises `BadInput` where a flag was given that has no effect, with the reason."""
    if given := idle_flags(command, names):
        raise BadInput(f"{reason}, so {', '.join(given)} would have no effect; leave {_it(given)} out")


def said_idle(command: Any, names: Iterable[str], reason: str) -> list[str]:
    """A warning where a flag was given that has no effect, with the reason; else none."""
    given = idle_flags(command, names)
    return [f"{reason}, so {', '.join(given)} has no effect"] if given else []


def _it(given: list[str]) -> str:
    return "it" if len(given) == 1 else "them"
