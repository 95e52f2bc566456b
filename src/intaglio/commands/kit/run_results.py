"""A run's folder in place of the model or file that the run made."""

import dataclasses
from pathlib import Path
from typing import Any

from intaglio.commands.kit.early_checks import MODELS
from intaglio.data_files import Fields
from intaglio.errors import BadInput
from intaglio.runs.header import FILE, checked_header

GIVE_MODELS = {"distill": "model", "energy": "model", "finetune": "weights", "merge": "weights", "shrink": "model"}
"""Entry of a run's summary that names the model or adapter it made, by verb."""
FURTHER = {"lora": GIVE_MODELS, "start_file": {"sample": "part"}}
"""Flags of other files, with the verbs that make them."""


def with_results(command: Any) -> Any:
    """The command with the model or file of a run wherever the run's folder was given for one.

    Raises `BadInput` for the folder of a run that made none, or that is not done.
    """
    changed = {
        field.name: _resolved(value, field.name)
        for field in dataclasses.fields(command)
        if (field.name in MODELS or field.name in FURTHER) and (value := getattr(command, field.name)) is not None
    }
    changed = {name: value for name, value in changed.items() if value != getattr(command, name)}
    return dataclasses.replace(command, **changed) if changed else command


def _resolved(value: Any, flag: str) -> Any:
    if isinstance(value, tuple):
        return tuple(_resolved(one, flag) for one in value)
    return _result(value, flag) if isinstance(value, Path) and (value / FILE).is_file() else value


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
