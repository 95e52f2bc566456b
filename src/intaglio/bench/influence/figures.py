"""Figures of the influence bench: each row's influences beside the losses of models trained again."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from intaglio.bench.influence.retrained import RetrainedLosses
from intaglio.bench.influence.truth import Split, correlations, datamodels, lds, reliability, removals, rises
from intaglio.metrics.statistics.interval import interval
from intaglio.printable import aligned
from intaglio.runs.machine import machine, versions
from intaglio.runs.run import Run

TRUTHS = ("datamodels", "exact")
"""Rows that come from retrained models alone."""
TUNED = "tuned"
"""Ending of a row whose damping was chosen on subsets that it is not measured on."""


def figures_of(
    run: Run, truth: RetrainedLosses, groups: Mapping[str, Sequence[int]], truths: Sequence[str]
) -> dict[str, Any]:
    """Headline figures, the ceiling of each group, and every row by group."""
    columns = [place for group in groups.values() for place in group]
    split = Split.of(truth, columns)
    found = {name: {**row, "tau": np.array(row["tau"])} for name, row in run.recorded("tau").items()}
    found = _chosen(found, split)
    exact = removals(truth, columns)
    for name, tau in (("datamodels", datamodels(*split.even)), ("exact", exact)):
        if name in truths and tau is not None:
            found[name] = {"tau": tau, "seconds": 0.0, "calls": 0, "role": "truth"}
    ends = np.cumsum([len(group) for group in groups.values()])
    parts = {
        name: part.tolist() for name, part in zip(groups, np.split(np.arange(len(columns)), ends[:-1]), strict=True)
    }
    ceiling = reliability(truth, columns)
    ceilings = {name: None if ceiling is None else float(ceiling[part].mean()) for name, part in parts.items()}
    rows = {
        name: {
            **{key: row[key] for key in ("seconds", "calls", "role", "damping") if key in row},
            **{
                group: _row(row["tau"][part], split.at(part), ceilings[group], exact, part)
                for group, part in parts.items()
            },
        }
        for name, row in found.items()
    }
    return {
        "models": len(truth.kinds),
        "subsets_measured": len(split.odd[0]),
        **{f"reliability_{name}": value for name, value in ceilings.items()},
        **{f"lds_{name.replace('-', '_').replace(' ', '_')}": row["members"]["lds"] for name, row in rows.items()},
        "seconds": run.seconds,
        "machine": machine(),
        "versions": versions(),
        "rows": rows,
    }


def _chosen(found: Mapping[str, dict[str, Any]], split: Split) -> dict[str, dict[str, Any]]:
    """The rows, of those that differ in damping alone the best on subsets of even numbers."""
    rows: dict[str, dict[str, Any]] = {}
    best: dict[str, float] = {}
    for name, row in found.items():
        row_name, tuned, share = name.partition(f" {TUNED} ")
        if not tuned:
            rows[name] = row
            continue
        score = float(lds(row["tau"], *split.even).mean())
        if score > best.get(row_name, -2.0):
            best[row_name] = score
            rows[f"{row_name} {TUNED}"] = {**row, "damping": float(share)}
    return dict(sorted(rows.items()))


def _row(
    tau: Float[np.ndarray, "q n"],
    split: Split,
    ceiling: float | None,
    exact: Float[np.ndarray, "every n"] | None,
    part: Sequence[int],
) -> dict[str, Any]:
    """One row's figures for one group of queries."""
    scores = lds(tau, *split.odd)
    mean = float(scores.mean())
    found = {
        "lds": mean,
        "interval": list(interval(lambda some: some.mean(-1), [scores])),
        "share": float(mean / np.sqrt(ceiling)) if ceiling is not None and ceiling > 0 else None,
        "rise": _mean(rises(tau, *split.odd)),
    }
    return found if exact is None else {**found, "loo": float(correlations(tau.T, exact[part].T).mean())}


def _mean(values: Float[np.ndarray, "q"]) -> float | None:
    """The mean of those that are known; None where none is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def table_of(figures: Mapping[str, Any]) -> str:
    """The rows by group."""
    groups = [key.removeprefix("reliability_") for key in figures if key.startswith("reliability_")]
    head = ["row", *(f"{what} {group}" for group in groups for what in ("lds", "95%", "rise", "loo")), "calls", "s"]
    lines = [head]
    for name, row in figures["rows"].items():
        cells = [name]
        for group in groups:
            one = row[group]
            low, high = one["interval"]
            loo = f"{one['loo']:.2f}" if "loo" in one else "-"
            cells += [
                f"{one['lds']:.2f}",
                f"{low:.2f} to {high:.2f}",
                "-" if one["rise"] is None else f"{one['rise']:.2f}",
                loo,
            ]
        lines.append([*cells, f"{row['calls']:,}", f"{row['seconds']:.0f}"])
    known = {group: figures[f"reliability_{group}"] for group in groups}
    ceilings = ", ".join(f"{group} {'-' if value is None else f'{value:.2f}'}" for group, value in known.items())
    table = aligned(lines)
    return f"{figures['models']} models; reliability of one seed's losses: {ceilings}\n\n{table}"
