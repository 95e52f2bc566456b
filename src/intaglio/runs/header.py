"""`run.json`: verb, method, settings, inputs, versions, machine, status and summary of a run."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from intaglio.files import atomic_write
from intaglio.runs.machine import machine, versions
from intaglio.runs.plain import digest, to_json, unique

FORMAT = 1
"""Raised when folders of older versions can no longer be continued; part of every run's name."""
FILE = "run.json"
NO_METER = "not measured: no energy meter is attached"


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
        "resumed": 0,
        "joules": None,
        "joules_why": NO_METER,
        "warnings": [],
        "summary": {},
    }
    return json.loads(to_json(header))


def read_header(folder: Path) -> dict[str, Any] | None:
    """`run.json` of a folder, or None where there is none that can be read."""
    try:
        header = json.loads((folder / FILE).read_bytes())
    except (OSError, ValueError):
        return None
    return header if isinstance(header, dict) and isinstance(header.get("name"), str) else None


def write_header(folder: Path, header: Mapping[str, Any]) -> None:
    """Writes `run.json` atomically."""
    atomic_write(folder / FILE, to_json(header, indent=2) + "\n")


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
