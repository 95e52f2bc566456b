"""A stored run's command line, run again: only the run's own verb, and only into the run's own folder.

A run folder may come from a stranger, whose command line is data: it names what to go on with, and nothing else.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from intaglio.commands.kit.console import note
from intaglio.commands.kit.source_settings import default_of
from intaglio.errors import BadInput

ELSEWHERE = ("output", "report", "out")
"""Flags of commands for what is written beside the run."""


def check_verb(path: Sequence[str], folder: Path, header: Mapping[str, Any]) -> None:
    """Raises `BadInput` where the words of a command are those of another verb or method than the run's."""
    own = "-".join(word for word in (str(header.get("verb") or ""), str(header.get("method") or "")) if word)
    if not f"{own}-".startswith(f"{'-'.join(path)}-"):
        raise BadInput(
            f"{folder / 'run.json'} is of {own}, and its command is `intaglio {' '.join(path)}`; only a run's own "
            "command is run: type it yourself if you trust it"
        )


def confined(command: Any, folder: Path) -> Any:
    """The command with its runs beside this one, nothing written elsewhere, and no other machine asked."""
    fields = {field.name: field for field in dataclasses.fields(command)}
    changes: dict[str, Any] = {"runs": folder.absolute().parent} if "runs" in fields else {}
    for name in ELSEWHERE:
        if name in fields and getattr(command, name) != default_of(fields[name]):
            note(f"--{name} is left out: a resumed run writes into its own folder alone")
            changes[name] = default_of(fields[name])
    if "method" in fields and dataclasses.is_dataclass(command.method):
        changes["method"] = dataclasses.replace(cast(Any, command.method), **_at_home(command.method))
    return dataclasses.replace(command, **changes, **_at_home(command))


def _at_home(part: Any) -> dict[str, None]:
    """The change that keeps the work of a command or bench on this machine: a cluster is given all the models."""
    if getattr(part, "cluster", None) is None:
        return {}
    note("--cluster is left out: a resumed run asks no other machine; type its command to go on there")
    return {"cluster": None}
