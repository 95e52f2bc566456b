"""Headline figures of the other benches of the verbs `explain`, from runs of them in the same folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from intaglio.runs.store import list_runs

KEYS: Mapping[str, tuple[str, ...]] = {
    "concepts": ("craft_recovery",),
    "blindspots": ("blind_spots_found", "blind_spots_planted"),
    "bias": ("bias_before", "bias_after"),
    "features": ("probe_accuracy_denoiser", "probe_accuracy_encoder"),
    "patching": ("relp_error",),
}
"""Figures that are taken, by bench."""


def figures_beside(runs: Path) -> dict[str, Any]:
    """The figures of `KEYS`, of the last begun and finished run of each bench, and under `beside` these runs' names.

    None for those of a bench that has no finished run below `runs`.
    """
    found: dict[str, Any] = {key: None for keys in KEYS.values() for key in keys}
    names = dict[str, str]()
    for run in list_runs(runs):
        if run.verb == "bench" and run.method in KEYS and run.status == "done" and run.method not in names:
            summary = dict(run.header.get("summary") or {})
            names[run.method] = run.name
            found |= {key: summary.get(key) for key in KEYS[run.method]}
    return {**found, "beside": names}
