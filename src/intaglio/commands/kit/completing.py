"""Completion of a command line: the words that may stand in the place of the last one."""

import types
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from intaglio.commands.kit.early_checks import MODELS
from intaglio.commands.kit.given_words import flag, hints_of
from intaglio.commands.kit.parsing import positionals, presets
from intaglio.commands.kit.run_results import makers, takes_run
from intaglio.commands.kit.source_settings import load, settings_of
from intaglio.models.embedded_models import EmbeddedModel
from intaglio.runs.header import FILE
from intaglio.verbs import VERBS, Verb, parts_of

COMMON = ("--config", "--preset", "--progress", "--quiet", "--json", "--debug", "--help")
"""Flags of every command."""
WITH_VALUES = ("--config", "--preset", "--progress")
"""Those of them that take a value."""
OF_RUNS = ("report", "runs")
"""Verbs that take a run by its name."""


def candidates(words: Sequence[str]) -> list[str]:
    """The words that may stand in the place of the last of `words`, which may be unfinished; none where a path may.

    `words` are those after `intaglio`, the last one empty where a new one begins.
    """
    *before, current = words or [""]
    before = [word for word in before if word != "="]  # bash takes --flag=value apart
    current = "" if current == "=" else current
    return sorted({word for word in _possible(_without_common(before), current) if word.startswith(current)})


def _without_common(words: list[str]) -> list[str]:
    """Words without the flags of every command, but for one whose value is still to come."""
    kept, rest = [], iter(words)
    for word in rest:
        if word in WITH_VALUES:
            if next(rest, None) is None:
                kept.append(word)
        elif word not in COMMON:
            kept.append(word)
    return kept


def _possible(before: list[str], current: str) -> Iterable[str]:
    if not before:
        return [*{verb.split()[0] for verb in VERBS}, *COMMON, "--version"]
    name, *rest = before
    parts = parts_of(name, VERBS)
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
        return presets([*name.split(), *([method] if method else [])])
    if last == "--progress":
        return ["auto", "json"]
    if last.startswith("--") and not current.startswith("-"):
        key = last[2:].replace("-", "_")
        return [*_values(hints.get(key)), *(_models(_folder_of_runs(rest), key) if takes_run(key) else ())]
    if current.startswith("-"):
        flags = [word for key, hint in hints.items() if key not in positionals(command) for word in _flags(key, hint)]
        return [*flags, *COMMON]
    if name in OF_RUNS:
        return [*_values(hints.get("action")), *_runs(_folder_of_runs(rest))]
    return []


def _folder_of_runs(words: list[str]) -> Path:
    """The folder that `--runs` names among words, or the usual one."""
    given = [value for flag_, value in pairwise(words) if flag_ == "--runs"]
    return Path(given[-1] if given else "runs")


def _models(runs: Path, key: str) -> list[str]:
    """Embedded models, for the flag of a model, and the runs that made one."""
    embedded = [model.name for model in EmbeddedModel.known()] if key in MODELS else []
    return [*embedded, *(name for name in _runs(runs) if name.partition("-")[0] in makers(key))]


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
    local found word
    COMPREPLY=()
    mapfile -t found < <(intaglio --complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    for word in "${found[@]}"; do COMPREPLY+=("$(printf %q "$word")"); done
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
