"""A stored run's command line, run again: only the run's own verb, and only into the run's own folder.

A run folder may come from a stranger, whose command line is data: it names what to go on with, and nothing else.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

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
    """The command with its runs beside this one, and nothing written elsewhere."""
    fields = {field.name: field for field in dataclasses.fields(command)}
    changes: dict[str, Any] = {"runs": folder.absolute().parent} if "runs" in fields else {}
    for name in ELSEWHERE:
        if name in fields and getattr(command, name) != default_of(fields[name]):
            note(f"--{name} is left out: a resumed run writes into its own folder alone")
            changes[name] = default_of(fields[name])
    return dataclasses.replace(command, **changes)
