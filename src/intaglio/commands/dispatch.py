"""A verb and a method are looked up in one table, and one dataclass is made of the rest of the words."""

from pathlib import Path

import intaglio
from intaglio.commands.console import invoked, say, table
from intaglio.errors import BadInput
from intaglio.methods import VERBS

HELP = ("-h", "--help")


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
    config, preset = parsing.take_option(words, "--config"), parsing.take_option(words, "--preset")
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
        files = (parsing.preset_file(place, preset) if preset else None, Path(config) if config else None)
        command = parsing.read_command(verb.command, method, rest, place, *files)
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
