"""Parsing of the words after a verb and its method into a command; presets and configuration files."""

import dataclasses
import difflib
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import tyro

from intaglio.commands.kit.given_words import check_empty_paths, hints_of
from intaglio.commands.kit.source_settings import default_of, load, settings_of
from intaglio.commands.kit.toml_types import type_fault
from intaglio.data_files import read_toml, shown
from intaglio.errors import BadInput
from intaglio.files import PACKAGE

PRESETS = PACKAGE / "presets"
"""TOML files of named settings, VERB-METHOD-PRESET.toml, such as those published with a paper."""
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""Characters that a terminal obeys, which no setting holds; newlines and tabs may stand in a prompt."""
COMMON_FLAGS = (
    "Also: --config FILE.toml (defaults that flags override), --quiet (no progress, no comments), --progress json (a "
    "line of JSON each), --json (the run and its figures as one line of JSON in place of text), --debug."
)


def split_at_dashes(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words before the first `--`, and those after it, which belong to another program."""
    place = words.index("--") if "--" in words else len(words)
    return list(words[:place]), list(words[place + 1 :])


def take_flag(words: list[str], flag: str) -> bool:
    """Removes `flag` from the words, wherever it stands; returns whether it was there."""
    found = flag in words
    words[:] = [word for word in words if word != flag]
    return found


def takes_json(target: str, words: list[str]) -> bool:
    """Removes `--json` of a command that has no such flag of its own; returns whether it was there.

    Raises `BadInput` where the command keeps no run whose figures could be written (`keeps_run`), and writes no other
    result as JSON (`writes_json`).
    """
    command = load(target)
    known = {field.name for field in dataclasses.fields(command)}
    if "json" in known or not take_flag(words, "--json"):
        return False
    if not getattr(command, "writes_json", False) and not getattr(command, "keeps_run", "runs" in known):
        raise BadInput("this command keeps no run whose figures could be written; leave --json out")
    return True


def take_option(words: list[str], option: str) -> str | None:
    """Removes `option VALUE` or `option=VALUE` from the words; returns the last value, or None."""
    value, kept, rest = None, [], iter(words)
    for word in rest:
        if word == option:
            value = next(rest, None)
            if value is None:
                raise BadInput(f"{option} wants a value")
        elif word.startswith(f"{option}="):
            value = word.partition("=")[2]
        else:
            kept.append(word)
            continue
        if not value:
            raise BadInput(f"{option} is empty, perhaps by an unset variable; give a value, or leave it out")
    words[:] = kept
    return value


def nearest(word: str, known: Iterable[str]) -> str:
    """The end of an error sentence: the names that look like `word`, or all of them."""
    known = list(known)
    close = difflib.get_close_matches(word, known, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(close)}?" if close else f"there is: {', '.join(known)}"


def presets(path: Sequence[str]) -> dict[str, Path]:
    """The presets of a verb and its method, by name."""
    lead = "-".join(path) + "-"
    return {file.stem.removeprefix(lead): file for file in sorted(PRESETS.glob(f"{lead}*.toml"))}


def preset_file(path: Sequence[str], name: str) -> Path:
    """The file of one preset. Raises `BadInput` for an unknown name."""
    known = presets(path)
    if name not in known:
        what = nearest(name, known) if known else "it has none"
        raise BadInput(f"{' '.join(path)} has no preset {name!r}; {what}")
    return known[name]


def read_command(
    target: str,
    method: str | None,
    words: Sequence[str],
    path: Sequence[str],
    *configs: Path | None,
    operands: Sequence[str] = (),
) -> Any:
    """The command's dataclass, filled from the words; `--help` and usage errors end in SystemExit, as tyro does.

    In place of the method stands its twin, which has the same settings and nothing else (`with_method`).

    Args:
        target: `module:Class` of the command.
        method: `module:Class` of the method, for a command that is generic over one.
        words: flags and values, without `--config`.
        path: verb and method as they stand before the flags.
        configs: TOML files of defaults; later ones win.
        operands: words after two dashes, which are no flags of this program.
    """
    command = load(target)
    twin = settings_of(method) if method else None
    kind, parts = (command[twin], [command, twin]) if twin else (command, [command])
    leading = [word for config in configs if config for word in config_words(config, command, twin)]
    check_empty_paths(words, parts)
    check_empty_paths(leading, parts)
    named = [f"--preset {name}" for name in presets(path)]
    common = [COMMON_FLAGS, *([f"Settings that go by a name: {', '.join(named)}."] if named else [])]
    description = f"{inspect.getdoc(command)}\n\n{' '.join(common)}"
    given = [*leading, *words, *(["--", *operands] if operands else [])]
    return tyro.cli(kind, prog=" ".join(["intaglio", *path]), description=description, args=given)


def with_method(parsed: Any, method: str | None) -> Any:
    """A command as `read_command` gives it, with the method itself, whose import may take seconds, for its twin."""
    return parsed if method is None else dataclasses.replace(parsed, method=load(method)(**_values(parsed.method)))


def flags_turned_on(config: str | None) -> list[str]:
    """The flags that a TOML file sets to true; none where it cannot be read, which is said once its values are due."""
    try:
        values = {} if config is None else read_toml(Path(config))
    except BadInput:
        return []
    return [f"--{key.replace('_', '-')}" for key, value in values.items() if value is True]


def config_words(path: Path, command: type, twin: type | None) -> list[str]:
    """A TOML file's top-level keys as flags; put before those of the command line, which then override them."""
    try:
        values = read_toml(path)
    except BadInput as error:
        if isinstance(error.__cause__, OSError):
            raise BadInput(f"--config {path} cannot be read: {error.__cause__.strerror}") from None
        raise BadInput(f"--config {path} is not a TOML file that can be used: {error}") from None
    known = {field.name: field for kind in (command, twin) if kind for field in dataclasses.fields(kind)}
    if twin is not None:
        del known["method"]
    hints, words = hints_of([kind for kind in (command, twin) if kind]), []
    for key, value in values.items():
        name = key.replace("-", "_")
        if isinstance(value, Mapping):
            raise BadInput(f"{path} has a table [{key}]; settings are top-level keys, such as steps = 40")
        if name not in known:
            raise BadInput(f"{path} sets {key!r}, which no flag here is called; {nearest(name, known)}")
        if name in positionals(command):
            raise BadInput(f"{path} sets {key!r}, which is a word of the command line and not a flag; give it there")
        _check_value(path, key, value)
        if fault := type_fault(value, hints[name]):
            raise BadInput(f"{path} sets {key!r} {fault}; mend it")
        words += _flag(name, value)
    return words


def _check_value(path: Path, key: str, value: Any) -> None:
    """Raises `BadInput` for a value that would not arrive as the value of one flag."""
    items = value if isinstance(value, list) else [value]
    if wrong := [item for item in items if not isinstance(item, str | int | float)]:
        raise BadInput(f"{path} sets {key!r} to {shown(wrong[0])}; give texts, numbers, true or false")
    if steering := [item for item in items if isinstance(item, str) and CONTROL.search(item)]:
        raise BadInput(f"{path} sets {key!r} to {shown(steering[0])}, which holds control characters; leave them out")
    if flags := [item for item in items if len(items) > 1 and isinstance(item, str) and item.startswith("-")]:
        raise BadInput(f"{path} sets {key!r} to a list with {flags[0]!r}, which reads as a flag; give that on its own")


def to_words(command: Any) -> Iterator[str]:
    """The words that give this command again from any folder: settings unlike the defaults, and every path."""
    bare = positionals(type(command))
    for field in dataclasses.fields(command):
        value = getattr(command, field.name)
        if dataclasses.is_dataclass(value):
            yield from to_words(value)
        elif field.name in bare:
            yield from (str(_absolute(item)) for item in (value if isinstance(value, tuple) else (value,)))
        elif value != default_of(field) or isinstance(value, Path):
            yield from _flag(field.name, value)


def _flag(name: str, value: Any) -> list[str]:
    flag = "--" + name.replace("_", "-")
    if value is True:
        return [flag]
    if value is False:
        return ["--no-" + flag[2:]]
    if isinstance(value, list | tuple) and len(value) != 1:
        return [flag, *(str(_absolute(item)) for item in value)]
    word = str(_absolute(value[0] if isinstance(value, list | tuple) else value))
    return [f"{flag}={word}"] if word.startswith("-") else [flag, word]


def _absolute(value: Any) -> Any:
    return value.absolute() if isinstance(value, Path) else value


def positionals(command: type) -> set[str]:
    """The fields of a command that are bare words and no flags."""
    hints = get_type_hints(command, include_extras=True)
    marked = {name: get_args(hint)[1:] for name, hint in hints.items() if get_origin(hint) is Annotated}
    positional = get_args(tyro.conf.Positional[int])[1]
    return {name for name, marks in marked.items() if positional in marks}


def _values(settings: Any) -> dict[str, Any]:
    return {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
