"""The command line: a verb and a method are looked up in one table, and one dataclass is made of the rest."""

import os
import sys
from collections.abc import Sequence

import intaglio
from intaglio.commands.console import invoked, say, table
from intaglio.errors import BadInput, IntaglioError
from intaglio.methods import VERBS

HELP = ("-h", "--help")


def main(words: Sequence[str] | None = None) -> int:
    """Run one command line (by default this process's) and return its exit code.

    0 done, 1 failed, 2 bad usage, 130 interrupted with the state saved.
    """
    words = list(sys.argv[1:] if words is None else words)
    debug = "--debug" in words
    try:
        return run([word for word in words if word != "--debug"])
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            raise
        sentence, code = in_words(error)
        sys.stderr.write(f"intaglio: {sentence}\n")
        return code


def run(words: list[str]) -> int:
    """Answer, or find the command and call it."""
    match words:
        case [] | ["-h" | "--help", *_]:
            say(overview())
            return 0
        case ["--version", *_]:
            say(f"intaglio {intaglio.__version__}")
            return 0
    from intaglio.commands import parsing

    quiet = parsing.take_flag(words, "--quiet")
    config = parsing.take_option(words, "--config")
    if not words:
        return run(["--help"])
    name, *rest = words
    if name not in VERBS:
        raise BadInput(f"there is no verb {name!r}; {parsing.nearest(name, VERBS)}")
    verb, method, place = VERBS[name], None, [name]
    if verb.methods:
        if not rest or rest[0] in HELP:
            say(methods_of(name))
            return 0
        if rest[0] not in verb.methods:
            raise BadInput(f"{name} has no method {rest[0]!r}; {parsing.nearest(rest[0], verb.methods)}")
        method, place, rest = verb.methods[rest[0]].target, [name, rest[0]], rest[1:]
    try:
        command = parsing.read_command(verb.command, method, rest, f"intaglio {' '.join(place)}", config)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 2
    except ValueError as error:
        raise BadInput(str(error)) from error
    with invoked([*place, *parsing.to_words(command)], quiet):
        return command() or 0


def overview() -> str:
    """The table of verbs."""
    rows = [(name, verb.summary) for name, verb in VERBS.items()]
    usage = "usage: intaglio VERB [METHOD] [flags]     intaglio VERB [METHOD] --help     intaglio --version"
    return f"{intaglio.__doc__}\n\n{usage}\n\n{table(rows, indent='  ')}"


def methods_of(name: str) -> str:
    """The table of a verb's methods."""
    verb = VERBS[name]
    rows = [(method, entry.summary) for method, entry in verb.methods.items()]
    usage = f"usage: intaglio {name} METHOD [flags]     intaglio {name} METHOD --help"
    return f"{verb.summary[0].upper()}{verb.summary[1:]}.\n\n{usage}\n\n{table(rows, indent='  ')}"


def in_words(error: BaseException) -> tuple[str, int]:
    """One sentence for what went wrong, and the exit code."""
    if isinstance(error, IntaglioError):
        return str(error), error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return "interrupted; the same command goes on from where it was", 130
    text = " ".join(str(error).split())
    if getattr(error, "errno", None) == 28 or "os error 28" in text or "No space left" in text:
        return "the disk is full; make room, and the same command goes on from where it was", 1
    kind = type(error).__name__
    if isinstance(error, MemoryError) or kind == "OutOfMemoryError" or "can't allocate memory" in text:
        return "out of memory; a smaller --batch or --micro-batch needs less, and the same command goes on", 1
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}", 1
    return f"a fault of intaglio itself, {kind}: {text} (--debug shows where; report it with `intaglio doctor`)", 1
