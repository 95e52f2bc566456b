"""A run's folder in place of the model or file that the run made."""

import dataclasses
import os
from pathlib import Path
from typing import Any

from intaglio.commands.kit.early_checks import MODELS
from intaglio.data_files import Fields
from intaglio.errors import BadInput
from intaglio.models.embedded_models import EmbeddedModel
from intaglio.runs.header import FILE, checked_header
from intaglio.runs.store import runs_called

GIVE_MODELS = {
    "audit": "weights",
    "distill": "model",
    "energy": "model",
    "finetune": "weights",
    "merge": "weights",
    "shrink": "model",
}
"""Entry of a run's summary that names the model or adapter it made, by verb."""
FURTHER = {"lora": GIVE_MODELS, "start_file": {"sample": "part"}}
"""Flags of other files, with the verbs that make them."""


def takes_run(flag: str) -> bool:
    """Whether the run that made its value may be given for a flag, as `start_file`, in its place."""
    return flag in MODELS or flag in FURTHER


def makers(flag: str) -> frozenset[str]:
    """The verbs whose runs make a value of such a flag."""
    return frozenset(FURTHER.get(flag, GIVE_MODELS))


def with_results(command: Any) -> Any:
    """The command with the model or file of a run wherever the run's folder, or its name, was given for one.

    A name is looked for in the command's folder of runs, once there is neither a file nor an embedded model of it.
    Raises `BadInput` for a run that made none, or that is not done, and for a name that fits several.
    """
    runs = getattr(command, "runs", Path("runs"))
    changed = {
        field.name: _resolved(value, field.name, runs)
        for field in dataclasses.fields(command)
        if takes_run(field.name) and (value := getattr(command, field.name)) is not None
    }
    changed = {name: value for name, value in changed.items() if value != getattr(command, name)}
    return dataclasses.replace(command, **changed) if changed else command


def _resolved(value: Any, flag: str, runs: Path) -> Any:
    if isinstance(value, tuple):
        return tuple(_resolved(one, flag, runs) for one in value)
    if not isinstance(value, Path):
        return value
    folder = value if (value / FILE).is_file() else _named(value, runs)
    return value if folder is None else _result(folder, flag)


def _named(name: Path, runs: Path) -> Path | None:
    """The folder of the run that is called so, or whose name begins so; None where none is, or a file is meant."""
    if len(name.parts) != 1 or os.path.lexists(name) or EmbeddedModel.named(name) or not runs.is_dir():
        return None
    found = runs_called(runs, str(name))
    if len(found) > 1:
        fitting = ", ".join(run.name for run in found[:3]) + (", ..." if len(found) > 3 else "")
        raise BadInput(f"{str(name)!r} is no file, and fits {len(found)} runs ({fitting}); give more of the name")
    return found[0].folder if found else None


def _result(folder: Path, flag: str) -> Path:
    """The model or file that the run in a folder made."""
    header = checked_header(folder)
    spelt = f"--{flag.replace('_', '-')}"
    if (status := header.get("status")) != "done":
        raise BadInput(f"{folder} is a run that is {status}, so its result is not whole; finish it, then give {spelt}")
    entry = FURTHER.get(flag, GIVE_MODELS).get(header.get("verb") or "")
    summary = Fields.of(header.get("summary") or {}, f"the summary of {folder / FILE}", "run its command again")
    name = None if entry is None else summary.text(entry, None)
    if name is None:
        raise BadInput(f"{folder} is a run of {header.get('verb')}, which makes nothing for {spelt}; give another path")
    if not (folder / name).resolve().is_relative_to(folder.resolve()):
        raise BadInput(f"{folder / FILE} leads out of its folder ({name}); give the path itself")
    return folder / name
