"""Headline figures of the other benches of the verbs `explain`, from runs of them in the same folder."""

from importlib import import_module
from pathlib import Path
from typing import Any

from intaglio.runs.store import list_runs
from intaglio.verbs import VERBS


def figures_beside(runs: Path) -> dict[str, Any]:
    """Figures of the last begun and finished run of each bench that has any, and under `beside` these runs' names.

    A bench says which by `explain_figures`; they are None for one that has no finished run below `runs`.
    """
    wanted = {name: _told(method.target) for name, method in VERBS["bench"].methods.items()}
    found: dict[str, Any] = {key: None for keys in wanted.values() for key in keys}
    names = dict[str, str]()
    for run in list_runs(runs):
        keys = wanted.get(run.method, ()) if run.verb == "bench" and run.status == "done" else ()
        if keys and run.method not in names:
            summary = dict(run.header.get("summary") or {})
            names[run.method] = run.name
            found |= {key: summary.get(key) for key in keys}
    return {**found, "beside": names}


def _told(target: str) -> tuple[str, ...]:
    module, _, kind = target.partition(":")
    return getattr(getattr(import_module(module), kind), "explain_figures", ())
