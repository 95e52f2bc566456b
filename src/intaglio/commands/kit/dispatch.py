"""Dispatch of a command line: the verb and the method from one table, then the command from the other words."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import intaglio
from intaglio.commands.kit.console import Invocation, invoked, note, say, table
from intaglio.commands.kit.devices import check_devices
from intaglio.commands.kit.early_checks import check_early
from intaglio.commands.kit.given_words import repeated_flags
from intaglio.commands.kit.json_result import reporting_run
from intaglio.commands.kit.plain_values import check_plain_values
from intaglio.commands.kit.resumed import check_verb, confined
from intaglio.commands.kit.run_results import with_results
from intaglio.commands.kit.shared_steps import check_launched
from intaglio.errors import BadInput, IntaglioError
from intaglio.verbs import VERBS, Verb

if TYPE_CHECKING:
    from intaglio.runs.store import StoredRun

HELP_FLAGS = ("-h", "--help")


def run(words: list[str], resumed: "StoredRun | None" = None) -> int:
    """Answers help and version, or finds the command and calls it; returns the exit code.

    With `resumed` the words are those that a run was started with, and may do no more than go on with it.
    """
    match words:
        case [] | ["-h" | "--help", *_]:
            say(overview())
            return 0
        case ["--version", *_]:
            say(f"intaglio {intaglio.__version__}")
            return 0
        case ["--complete", *begun]:
            from intaglio.commands.kit.completing import candidates

            for word in candidates(begun):
                say(word)
            return 0
    from intaglio.commands.kit import parsing

    words, operands = parsing.split_at_dashes(words)
    quiet = parsing.take_flag(words, "--quiet")
    progress = _progress(parsing.take_option(words, "--progress"))
    config, preset = None, None
    if resumed is None:
        config, preset = parsing.take_option(words, "--config"), parsing.take_option(words, "--preset")
    if not words:
        return run(["--help"])
    name, *rest = words
    parts = {verb.partition(" ")[2]: verb for verb in VERBS if verb.startswith(f"{name} ")}
    if rest and rest[0] in parts:
        name, rest = parts[rest[0]], rest[1:]
    elif parts and name not in VERBS:
        if not rest or rest[0] in HELP_FLAGS:
            say(parts_of(name))
            return 0
        raise BadInput(f"{name} has no part {rest[0]!r}; {parsing.nearest(rest[0], parts)}")
    if name not in VERBS:
        raise BadInput(f"there is no verb {name!r}; {parsing.nearest(name, sorted({v.split()[0] for v in VERBS}))}")
    verb, method, path = VERBS[name], None, name.split()
    if verb.methods:
        if (rest[:1] and rest[0] in HELP_FLAGS) or not (rest or verb.default):
            say(methods_of(name))
            return 0
        if verb.default and (not rest or rest[0].startswith("-") or _is_operand(verb, rest)):
            rest = [_default(verb, [*parsing.flags_turned_on(config), *rest]), *rest]
        if rest[0] not in verb.methods:
            raise BadInput(f"{name} has no method {rest[0]!r}; {parsing.nearest(rest[0], verb.methods)}")
        if fault := verb.methods[rest[0]].fault:
            raise IntaglioError(fault)
        method, path, rest = verb.methods[rest[0]].target, [*path, rest[0]], rest[1:]
    if resumed is not None:
        check_verb(path, resumed.folder, resumed.header)
    as_json = parsing.takes_json(verb.command, rest)
    try:
        files = (parsing.preset_file(path, preset) if preset else None, Path(config) if config else None)
        command = parsing.read_command(verb.command, method, rest, path, *files, operands=operands)
        check_plain_values(command)
        check_early(command)
        command = with_results(command)
        command = parsing.with_method(command, method)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 2
    except ValueError as error:
        raise BadInput(str(error)) from error
    check_launched(command, path)
    check_devices(command)
    if resumed is None:
        parts = [type(part) for part in (command, getattr(command, "method", None)) if is_dataclass(part)]
        return _called(command, path, quiet, progress, repeated_flags(rest, parts), as_json=as_json)
    from intaglio.runs.run import resuming

    with resuming(resumed.folder):
        return _called(confined(command, resumed.folder), path, quiet, progress)


def _progress(given: str | None) -> Literal["auto", "json"]:
    """The value of --progress. Raises `BadInput` for another."""
    if given not in (None, "auto", "json"):
        raise BadInput(f"--progress is auto (a bar on a terminal, else lines of text) or json, not {given!r}")
    return "json" if given == "json" else "auto"


def _called(
    command: Any,
    path: list[str],
    quiet: bool,
    progress: Literal["auto", "json"],
    notes: Sequence[str] = (),
    *,
    as_json: bool = False,
) -> int:
    from intaglio.commands.kit.parsing import to_words

    about = Invocation((*path, *to_words(command)), quiet, progress, as_json)
    with invoked(about), _reporting(command, path) if as_json else nullcontext():
        for line in notes:
            note(line)
        return command() or 0


def _reporting(command: Any, path: list[str]) -> AbstractContextManager[None]:
    """The block whose run is written as JSON; that of a dry run, which writes its plan itself."""
    return nullcontext() if getattr(command, "dry_run", False) else reporting_run(path)


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
    return f"{intaglio.__doc__}\n\n{usage}\n\n{table(rows, indent='  ')}"


def parts_of(name: str) -> str:
    """The table of the verbs that begin with one word."""
    rows = [(verb, entry.summary) for verb, entry in VERBS.items() if verb.startswith(f"{name} ")]
    usage = f"usage: intaglio {name} PART [flags]     intaglio {name} PART --help"
    return f"{usage}\n\n{table(rows, indent='  ')}"


def methods_of(name: str) -> str:
    """The table of a verb's methods."""
    verb = VERBS[name]
    rows = [(method, entry.summary) for method, entry in verb.methods.items()]
    word, default = "METHOD", ""
    if verb.default:
        flagged = "".join(f"; with {flag} {method}" for flag, method in verb.by_flag.items())
        word, default = "[METHOD]", f"\n\nWithout a method: {verb.default}{flagged}."
    operand = f" {verb.operand}" if verb.operand else ""
    usage = f"usage: intaglio {name} {word}{operand} [flags]     intaglio {name} METHOD --help"
    parts = [(part, entry.summary) for part, entry in VERBS.items() if part.startswith(f"{name} ")]
    further = f"\n\nBeside the methods:\n\n{table(parts, indent='  ')}" if parts else ""
    head = f"{verb.summary[0].upper()}{verb.summary[1:]}."
    return f"{head}\n\n{usage}\n\n{table(rows, indent='  ')}{default}{further}"
