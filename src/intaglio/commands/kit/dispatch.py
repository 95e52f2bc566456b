"""Dispatch of a command line: the verb and the method from one table, then the command from the other words."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import intaglio
from intaglio.commands.kit import parsing
from intaglio.commands.kit.console import Invocation, invoked, note, say
from intaglio.commands.kit.devices import check_devices
from intaglio.commands.kit.early_checks import check_early
from intaglio.commands.kit.given_words import repeated_flags
from intaglio.commands.kit.json_result import reporting_run
from intaglio.commands.kit.plain_values import check_plain_values
from intaglio.commands.kit.resumed import check_verb, confined
from intaglio.commands.kit.run_results import with_results
from intaglio.commands.kit.shared_steps import check_launched
from intaglio.errors import BadInput, IntaglioError
from intaglio.printable import aligned
from intaglio.verbs import VERBS, Verb, parts_of

if TYPE_CHECKING:
    from intaglio.runs.store import StoredRun

HELP_FLAGS = ("-h", "--help")


@dataclass(frozen=True)
class _Common:
    """The flags that every command takes."""

    quiet: bool
    progress: Literal["auto", "json"]
    preset: str | None = None
    config: str | None = None

    @classmethod
    def taken(cls, words: list[str], *, files: bool) -> "_Common":
        """Those of `words`, which are removed there; with `files`, names of files of settings too."""
        quiet = parsing.take_flag(words, "--quiet")
        progress = _progress(parsing.take_option(words, "--progress"))
        if not files:
            return cls(quiet, progress)
        config = parsing.take_option(words, "--config")
        return cls(quiet, progress, parsing.take_option(words, "--preset"), config)


@dataclass(frozen=True)
class _Place:
    """A command of the table, its method, and the words that are its flags."""

    verb: Verb
    path: list[str]
    """Verb and method as they are spelt."""
    method: str | None
    """`module:Class` of the method, for a verb that has methods."""
    flags: list[str]


def run(words: list[str], resumed: "StoredRun | None" = None) -> int:
    """Answers help and version, or finds the command and calls it; returns the exit code.

    With `resumed` the words are those that a run was started with, and may do no more than go on with it.
    """
    match words:
        case ["--version", *_]:
            say(f"intaglio {intaglio.__version__}")
            return 0
        case ["--complete", *begun]:
            from intaglio.commands.kit.completing import candidates

            for word in candidates(begun):
                say(word)
            return 0
    words, operands = parsing.split_at_dashes(words)
    common = _Common.taken(words, files=resumed is None)
    name, rest = _verb(words)
    if help_text := _table_asked_for(name, rest):
        say(help_text)
        return 0
    place = _place(name, rest, common.config)
    if resumed is not None:
        check_verb(place.path, resumed.folder, resumed.header)
    as_json = parsing.takes_json(place.verb.command, place.flags)
    try:
        command = _command(place, common, operands)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 2
    check_launched(command, place.path)
    check_devices(command)
    if resumed is None:
        parts = [type(part) for part in (command, getattr(command, "method", None)) if is_dataclass(part)]
        return _called(command, place.path, common, repeated_flags(place.flags, parts), as_json=as_json)
    from intaglio.runs.run import resuming

    with resuming(resumed.folder):
        return _called(confined(command, resumed.folder), place.path, common)


def _verb(words: list[str]) -> tuple[str, list[str]]:
    """The verb that words begin with, of one word or two, as it is spelt, and the words after it."""
    if not words:
        return "", []
    name, *rest = words
    parts = parts_of(name, VERBS)
    return (parts[rest[0]], rest[1:]) if rest and rest[0] in parts else (name, rest)


def _table_asked_for(name: str, rest: list[str]) -> str:
    """The table of verbs, parts or methods, where words end, or ask for help, before they name a command; else ""."""
    if not name or name in HELP_FLAGS:
        return overview()
    asked = bool(rest) and rest[0] in HELP_FLAGS
    if name not in VERBS:
        return parts_table(name) if (asked or not rest) and parts_of(name, VERBS) else ""
    verb = VERBS[name]
    return methods_table(name) if verb.methods and (asked or not (rest or verb.default)) else ""


def _place(name: str, rest: list[str], config: str | None) -> _Place:
    """The command that words name. Raises `BadInput` for a verb, part or method that is not there."""
    if name not in VERBS:
        if parts := parts_of(name, VERBS):
            raise BadInput(f"{name} has no part {rest[0]!r}; {parsing.nearest(rest[0], parts)}")
        raise BadInput(f"there is no verb {name!r}; {parsing.nearest(name, sorted({v.split()[0] for v in VERBS}))}")
    verb = VERBS[name]
    if not verb.methods:
        return _Place(verb, name.split(), None, rest)
    if verb.default and (not rest or rest[0].startswith("-") or _is_operand(verb, rest)):
        rest = [_default(verb, [*parsing.flags_turned_on(config), *rest]), *rest]
    word, *flags = rest
    if word not in verb.methods:
        raise BadInput(f"{name} has no method {word!r}; {parsing.nearest(word, verb.methods)}")
    method = verb.methods[word]
    if method.fault:
        raise IntaglioError(method.fault)
    return _Place(verb, [*name.split(), word], method.target, flags)


def _command(place: _Place, common: _Common, operands: list[str]) -> Any:
    """The command with its inputs and its method, checked as far as it can be without torch.

    Raises:
        BadInput: a file of settings, a value or a path cannot be used.
        SystemExit: as tyro ends help and usage errors.
    """
    preset = parsing.preset_file(place.path, common.preset) if common.preset else None
    files = (preset, Path(common.config) if common.config else None)
    try:
        command = parsing.read_command(
            place.verb.command, place.method, place.flags, place.path, *files, operands=operands
        )
        check_plain_values(command)
        command = with_results(command)
        check_early(command)
        return parsing.with_method(command, place.method)
    except ValueError as error:
        raise BadInput(str(error)) from error


def _progress(given: str | None) -> Literal["auto", "json"]:
    """The value of --progress. Raises `BadInput` for another."""
    if given not in (None, "auto", "json"):
        raise BadInput(f"--progress is auto (a bar on a terminal, else lines of text) or json, not {given!r}")
    return "json" if given == "json" else "auto"


def _called(command: Any, path: list[str], common: _Common, notes: Sequence[str] = (), *, as_json: bool = False) -> int:
    about = Invocation((*path, *parsing.to_words(command)), common.quiet, common.progress, as_json)
    with invoked(about), _reporting(command, path) if as_json else nullcontext():
        for line in notes:
            note(line)
        return command() or 0


def _reporting(command: Any, path: list[str]) -> AbstractContextManager[None]:
    """The block whose run is written as JSON; a plain one where the command writes its result, or plan, itself."""
    itself = getattr(command, "dry_run", False) or getattr(command, "writes_json", False)
    return nullcontext() if itself else reporting_run(path)


def _is_operand(verb: Verb, words: list[str]) -> bool:
    """Whether the first word is the verb's operand: no method, and no misspelt one with the operand after it."""
    followed = len(words) > 1 and not words[1].startswith("-")
    return bool(verb.operand) and words[0] not in verb.methods and not followed


def _default(verb: Verb, words: list[str]) -> str:
    """The method that is taken where none is named; of a flag and its opposite the last counts."""
    for flag, method in verb.by_flag.items():
        given = [word for word in words if word in (flag, f"--no-{flag[2:]}")]
        if given and given[-1] == flag:
            return method
    return verb.default


def overview() -> str:
    """The table of verbs."""
    rows = [(name, verb.summary) for name, verb in VERBS.items()]
    usage = "usage: intaglio VERB [METHOD] [flags]     intaglio VERB [METHOD] --help     intaglio --version"
    return f"{intaglio.__doc__}\n\n{usage}\n\n{aligned(rows, indent='  ')}"


def parts_table(name: str) -> str:
    """The table of the verbs that begin with one word."""
    rows = [(verb, VERBS[verb].summary) for verb in parts_of(name, VERBS).values()]
    usage = f"usage: intaglio {name} PART [flags]     intaglio {name} PART --help"
    return f"{usage}\n\n{aligned(rows, indent='  ')}"


def methods_table(name: str) -> str:
    """The table of a verb's methods."""
    verb = VERBS[name]
    rows = [(method, entry.summary) for method, entry in verb.methods.items()]
    word, default = "METHOD", ""
    if verb.default:
        flagged = "".join(f"; with {flag} {method}" for flag, method in verb.by_flag.items())
        word, default = "[METHOD]", f"\n\nWithout a method: {verb.default}{flagged}."
    operand = f" {verb.operand}" if verb.operand else ""
    usage = f"usage: intaglio {name} {word}{operand} [flags]     intaglio {name} METHOD --help"
    parts = [(part, VERBS[part].summary) for part in parts_of(name, VERBS).values()]
    further = f"\n\nBeside the methods:\n\n{aligned(parts, indent='  ')}" if parts else ""
    head = f"{verb.summary[0].upper()}{verb.summary[1:]}."
    return f"{head}\n\n{usage}\n\n{aligned(rows, indent='  ')}{default}{further}"
