"""Completion of a command line: the words that may stand in the place of the last one."""

import types
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from intaglio.commands.kit.given_words import flag, hints_of
from intaglio.commands.kit.parsing import positionals, presets
from intaglio.commands.kit.source_settings import load, settings_of
from intaglio.runs.header import FILE
from intaglio.verbs import VERBS, Verb

COMMON = ("--config", "--preset", "--progress", "--quiet", "--json", "--debug", "--help")
"""Flags of every command."""
OF_RUNS = ("report", "runs")
"""Verbs that take a run by its name."""


def candidates(words: Sequence[str]) -> list[str]:
    """The words that may stand in the place of the last of `words`, which may be unfinished; none where a path may.

    `words` are those after `intaglio`, the last one empty where a new one begins.
    """
    *before, current = words or [""]
    return sorted({word for word in _possible(before, current) if word.startswith(current)})


def _possible(before: list[str], current: str) -> Iterable[str]:
    if not before:
        return [*{verb.split()[0] for verb in VERBS}, "--help", "--version"]
    name, *rest = before
    parts = {verb.partition(" ")[2]: verb for verb in VERBS if verb.startswith(f"{name} ")}
    if rest and rest[0] in parts:
        name, rest, parts = parts[rest[0]], rest[1:], {}
    verb = VERBS.get(name)
    if verb is None:
        return [*parts, "--help"] if parts and not rest else []
    if verb.methods and not rest and not current.startswith("-"):
        return [*parts, *verb.methods]
    return [*(parts if not rest else ()), *_of_command(name, verb, rest, current)]


def _of_command(name: str, verb: Verb, rest: list[str], current: str) -> Iterable[str]:
    """Flags of a command and its method, values of the flag before, or names of runs."""
    command = load(verb.command)
    method = rest[0] if rest and rest[0] in verb.methods else verb.default
    twin = settings_of(verb.methods[method].target) if method else None
    hints = hints_of([kind for kind in (command, twin) if kind is not None])
    last = rest[-1] if rest else ""
    if last == "--preset":
        return presets([*name.split(), method])
    if last == "--progress":
        return ["auto", "json"]
    if last.startswith("--") and not current.startswith("-"):
        return _values(hints.get(last[2:].replace("-", "_")))
    if current.startswith("-"):
        flags = [word for key, hint in hints.items() if key not in positionals(command) for word in _flags(key, hint)]
        return [*flags, *COMMON]
    if name in OF_RUNS:
        return [*_values(hints.get("action")), *_runs(Path("runs"))]
    return []


def _flags(key: str, hint: Any) -> list[str]:
    if key == "method":
        return []
    return [flag(key), f"--no-{flag(key)[2:]}"] if hint is bool else [flag(key)]


def _values(hint: Any) -> list[str]:
    """The values of a flag that takes one of a few; none where it takes others."""
    if get_origin(hint) is Literal:
        return [str(value) for value in get_args(hint)]
    if get_origin(hint) in (Union, types.UnionType, tuple):
        return [value for part in get_args(hint) for value in _values(part)]
    return []


def _runs(folder: Path) -> list[str]:
    """Names of the runs right below a folder."""
    try:
        return [child.name for child in folder.iterdir() if (child / FILE).is_file()]
    except OSError:
        return []


SCRIPTS: Mapping[str, str] = {
    "bash": """\
_intaglio() {
    local IFS=$'\\n'
    COMPREPLY=($(intaglio --complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
    if [ ${#COMPREPLY[@]} -eq 0 ]; then compopt -o default; fi
}
complete -F _intaglio intaglio
""",
    "zsh": """\
#compdef intaglio
_intaglio() {
    local -a found
    found=("${(@f)$(intaglio --complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ -n "$found" ]]; then compadd -a found; else _files; fi
}
compdef _intaglio intaglio
""",
    "fish": """\
function __intaglio_words
    set -l words (commandline -opc)
    intaglio --complete $words[2..-1] (commandline -ct) 2>/dev/null
end
complete -c intaglio -a '(__intaglio_words)'
""",
}
"""What a shell reads to complete command lines of intaglio, by the shell's name; each asks intaglio itself."""
