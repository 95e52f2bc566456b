"""`run.json`: verb, method, settings, inputs, versions, machine, status and summary of a run."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from intaglio.data_files import Fields, read_json, shown
from intaglio.errors import BadInput
from intaglio.files import atomic_write
from intaglio.runs.machine import machine, versions
from intaglio.runs.plain_json import digest, to_json, unique
from intaglio.runs.tables import without_nan

FORMAT = 1
"""Raised when folders of older versions can no longer be continued; part of every run's name."""
FILE = "run.json"
RUN_NAME = re.compile(r"[a-z]+-([\w-]*-)?[0-9a-f]{10}")
"""Names that `run_name` gives in plain letters: verb, method and hash."""
AGAIN = "run its command again, or delete the folder"
"""The remedy for a damaged `run.json`."""


def run_name(verb: str, method: str, settings: Mapping, inputs: Mapping[str, Mapping], seed: int | None) -> str:
    """`<verb>-<method>-<10 hex>`, a hash of the settings, the inputs' contents wherever they lie, seed and format."""
    contents = {role: about.get("sha256", about) for role, about in inputs.items()}
    asked = {"format": FORMAT, "verb": verb, "method": method, "settings": settings, "inputs": contents, "seed": seed}
    words, mark = "-".join(word for word in (verb, method) if word), digest(asked)[:10]
    return f"{words if words.replace('-', '').replace('_', '').isalnum() else unique(words)}-{mark}"


def new_header(
    name: str,
    verb: str,
    method: str,
    settings: Mapping,
    inputs: Mapping[str, Mapping],
    *,
    seed: int | None,
    device: str,
    command: Sequence[str],
) -> dict[str, Any]:
    """The content of a new run's `run.json`, as plain values."""
    header = {
        "format": FORMAT,
        "name": name,
        "verb": verb,
        "method": method,
        "status": "unfinished",
        "error": None,
        "settings": settings,
        "inputs": inputs,
        "seed": seed,
        "device": device,
        "command": list(command),
        "cwd": str(Path.cwd()),
        "versions": versions(),
        "machine": machine(),
        "started": now(),
        "finished": None,
        "seconds": 0.0,
        "planned_seconds": None,
        "resumed": 0,
        "joules": None,
        "joules_of": {},
        "joules_by": {},
        "joules_why": None,
        "cpu_seconds": 0.0,
        "warnings": [],
        "summary": {},
    }
    return json.loads(to_json(header))


class NewerRun(BadInput):
    """A run of a newer version, which this one leaves as it is."""


def read_header(folder: Path) -> dict[str, Any] | None:
    """`run.json` of a folder, or None where there is none that can be read. Raises `NewerRun`."""
    try:
        return checked_header(folder)
    except NewerRun:
        raise
    except BadInput:
        return None


def checked_header(folder: Path) -> dict[str, Any]:
    """`run.json` of a folder, whose fields are of the kinds that a run writes. Raises `BadInput` where they are not."""
    header = Fields.of(read_json(folder / FILE, AGAIN, constants=True), str(folder / FILE), AGAIN)
    if (found := header.whole("format", FORMAT)) > FORMAT:
        raise NewerRun(f"{header.source} is of format {found}, of a newer version; update intaglio to read this run")
    header.text("name")
    for key in ("verb", "method", "status", "started", "finished", "error", "device"):
        header.text(key, None)
    for key in ("settings", "summary", "versions"):
        header.table(key, None)
    inputs = header.table("inputs", None)
    for known in () if inputs is None else inputs.values.values():
        Fields.of(known, f"{header.source}, inputs", AGAIN)
    for key in ("command", "warnings", "results"):
        _texts(header, key)
    header.number("seconds", 0.0, low=0.0)
    header.number("planned_seconds", None, low=0.0)
    header.whole("resumed", 0)
    _check_verb(header)
    return dict(header.values)


def _check_verb(header: Fields) -> None:
    """Raises `BadInput` where the run's own name, which a hash ends, begins with another verb."""
    name, verb = header.text("name"), header.text("verb", "")
    if verb.isalpha() and RUN_NAME.fullmatch(name) and not name.startswith(f"{verb}-"):
        raise BadInput(f"{header.source} has verb {shown(verb)}, where {name} is a run of another verb; {AGAIN}")


def _texts(header: Fields, key: str) -> None:
    value = header.values.get(key)
    if value is not None and not (isinstance(value, list) and all(isinstance(item, str) for item in value)):
        raise BadInput(f"{header.source} has {key} {shown(value)}, where a list of texts is due; {AGAIN}")


def write_header(folder: Path, header: Mapping[str, Any]) -> None:
    """Writes `run.json` atomically; a number that JSON cannot hold is null among results, and a text in settings."""
    plain = json.loads(to_json(header))
    plain |= {"settings": _spelt(plain.get("settings")), "summary": without_nan(plain.get("summary"))}
    atomic_write(folder / FILE, to_json(plain, indent=2) + "\n")


def _spelt(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _spelt(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_spelt(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def changed(header: Mapping[str, Any], device: str) -> str | None:
    """A warning that names what differs between now and the run's beginning; None where nothing does."""
    before, today = header.get("versions") or {}, versions()
    parts = [f"{name} {before.get(name)} then, {today[name]} now" for name in today if before.get(name) != today[name]]
    if header.get("device") != device:
        parts.append(f"device {header.get('device')} then, {device} now")
    return f"resumed under other conditions, so numbers may differ: {'; '.join(parts)}" if parts else None


def now() -> str:
    """The wall clock, to the second, in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")
