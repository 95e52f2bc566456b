"""The words of a command line as they were typed: paths that are empty, and flags that are given twice."""

import dataclasses
from collections.abc import Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from intaglio.commands.kit.plain_values import NAMES_OR_PATHS
from intaglio.errors import BadInput


def check_empty_paths(words: Sequence[str], kinds: Sequence[type]) -> None:
    """Raises `BadInput` for a path of no letters, as an unset variable of a shell leaves it.

    It would else be taken for the current folder. A bare word before the flags counts as a path.

    Args:
        words: flags and values.
        kinds: dataclasses of the command's flags.
    """
    paths = {name for name, hint in hints_of(kinds).items() if name in NAMES_OR_PATHS or _holds(hint, Path)}
    for name, value in _given(words):
        if value == "" and (name in paths or not name):
            what = flag(name) if name else "the first word" if words[0] == "" else "a word before the flags"
            raise BadInput(f"{what} is empty, perhaps by an unset variable; give a path, or leave it out")


def repeated_flags(words: Sequence[str], kinds: Sequence[type]) -> list[str]:
    """A note for each flag of one value that is given twice with two values.

    Raises `BadInput` for such a flag of several values, of which all but the last would be lost.
    """
    hints, values, notes = hints_of(kinds), dict[str, list[tuple[str, ...]]](), []
    for name, given in _grouped(words):
        values.setdefault(name, []).append(given)
    for name, given in values.items():
        if len(set(given)) < 2 or name not in hints:
            continue
        if get_origin(hints[name]) is tuple:
            raise BadInput(f"{flag(name)} is given twice, and takes all its values at once: {flag(name)} A B")
        notes.append(f"{flag(name)} is given twice; the last one counts")
    return notes


def flag(name: str) -> str:
    """The flag of a field, as it is typed."""
    return f"--{name.replace('_', '-')}"


def _grouped(words: Sequence[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each flag, by its field's name, with the values that follow it."""
    name, values = "", list[str]()
    for word in words:
        if word.startswith("--"):
            if name:
                yield name, tuple(values)
            head, sign, value = word[2:].partition("=")
            name, values = head.replace("-", "_"), [value] if sign else []
        else:
            values.append(word)
    if name:
        yield name, tuple(values)


def _given(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each value with the name of its flag's field; that of a bare word before all flags is empty."""
    yield from (("", word) for word in takewhile(lambda word: not word.startswith("--"), words))
    yield from ((name, value) for name, values in _grouped(words) for value in values)


def hints_of(kinds: Sequence[type]) -> dict[str, Any]:
    """The types of the fields of dataclasses, by name; later ones win."""
    hints = {}
    for kind in kinds:
        known = get_type_hints(kind)
        hints |= {field.name: known[field.name] for field in dataclasses.fields(kind)}
    return hints


def _holds(hint: Any, kind: type) -> bool:
    return hint is kind or any(_holds(part, kind) for part in get_args(hint))
