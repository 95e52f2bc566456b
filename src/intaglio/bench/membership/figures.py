"""Figures of the membership bench: separation, error rates, stability of the sign and cost, by row and regime."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from intaglio.bench.kit.pooling import Audit, mean_auc, pooled_tpr
from intaglio.metrics.statistics.conformal import called, clopper_pearson, p_values
from intaglio.metrics.statistics.enough_controls import fewest_controls
from intaglio.printable import aligned
from intaglio.runs.machine import machine, versions
from intaglio.runs.run import Run

ALONE = "alone"
"""The row of a method's score of the suspect without its base."""
NULL = "null"
"""The condition in which the suspect never saw the pictures."""
RATE = 0.05
"""The false-positive rate that verdicts are asked for."""
OTHERS_ALIKE = ("paper", "captioned", NULL, "halves")
"""Conditions whose pictures outside the set are of the controls' kind; near relatives are not."""


def figures_of(run: Run) -> dict[str, Any]:
    """Headline figures, then every row by condition."""
    found = [one for kind in ("suspect", "halves") for some in run.recorded(kind).values() for one in some["audits"]]
    names = sorted({_row_name(one["method"], row) for one in found for row in one["scores"]})
    rows = {name: _by_condition([part for one in found for part in _parts(one, name)]) for name in names}
    null_rates = [by[NULL]["realised_rate"] for by in rows.values() if NULL in by]
    return {
        "methods": len({one["method"] for one in found}),
        "suspects": len(run.recorded("suspect")),
        **{f"auc_{condition}_{_word(name)}": row["auc"] for name, by in rows.items() for condition, row in by.items()},
        "null_rate_largest": max((rate for rate in null_rates if rate is not None), default=None),
        "seconds": run.seconds,
        "machine": machine(),
        "versions": versions(),
        "rows": rows,
    }


def table_of(figures: Mapping[str, Any]) -> str:
    """The rows as aligned columns, a line a row and condition."""
    head = (
        "row",
        "condition",
        "AUC",
        "interval",
        "TPR 1%",
        "TPR 5%",
        "above 1/2",
        "called",
        "rate at 5%",
        "calls",
        "s",
    )
    lines = [
        (
            name,
            condition,
            f"{row['auc']:.3f}",
            f"{row['auc_low']:.2f} to {row['auc_high']:.2f}",
            _share(row["tpr_at_1pct"]),
            _share(row["tpr_at_5pct"]),
            _share(row["above_half"]),
            _share(row.get("members_called")),
            _share(row["realised_rate"]),
            f"{row['calls']:.0f}",
            _share(row["seconds"]),
        )
        for name, by in figures["rows"].items()
        for condition, row in by.items()
    ]
    return aligned([head, *lines])


def _by_condition(parts: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    conditions = dict.fromkeys(part["condition"] for part in parts)
    return {name: _figures([part for part in parts if part["condition"] == name]) for name in sorted(conditions)}


def _figures(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The figures of one row in one condition, over all suspects."""
    audits = [Audit(np.array(part["members"]), np.array(part["others"])) for part in parts]
    area = mean_auc(audits)
    areas = [mean_auc([audit]).value for audit in audits]
    alike = parts[0]["condition"] in OTHERS_ALIKE
    calls = np.concatenate([_calls(part, _outside(part)) for part in parts])
    judged = all(len(part["controls"]) >= fewest_controls(RATE, part["sides"]) for part in parts)
    rated, trained = judged and alike, judged and parts[0]["condition"] != NULL
    return {
        "auc": area.value,
        "auc_low": area.low,
        "auc_high": area.high,
        "tpr_at_1pct": pooled_tpr(audits, 0.01),
        "tpr_at_5pct": pooled_tpr(audits, 0.05),
        "above_half": float(np.mean(np.array(areas) > 0.5)),
        "members_called": float(np.mean([_calls(part, part["members"]) for part in parts])) if trained else None,
        "realised_rate": float(calls.mean()) if rated else None,
        "realised_rate_interval": clopper_pearson(int(calls.sum()), calls.size) if rated else None,
        "outside": int(calls.size) if alike else 0,
        "suspects": len(parts),
        **{name: _mean([part[name] for part in parts]) for name in ("calls", "seconds")},
    }


def _calls(part: Mapping[str, Any], tested: ArrayLike) -> NDArray[np.bool_]:
    """The verdict at `RATE` on scores [n], by the part's own controls."""
    return called(p_values(tested, part["controls"], part["sides"]), RATE)


def _outside(part: Mapping[str, Any]) -> NDArray[np.float64]:
    """Scores of the pictures that were not trained on: in `null` those of both kinds."""
    return np.array([*(part["members"] if part["condition"] == NULL else ()), *part["others"]])


def _parts(one: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The scores of one audit that belong to a row, by role, with its condition and cost."""
    alone = name.endswith(f" {ALONE}")
    wanted = ALONE if alone else ""
    if _row_name(one["method"], wanted) != name or wanted not in one["scores"]:
        return []
    members, others, controls = one["scores"][wanted]
    half = 0.5 if alone else 1.0  # without the base each picture is asked about once
    sides = one.get("sides", "upper")
    about = {
        "condition": one["condition"],
        "sides": sides,
        "seconds": None if one["seconds"] is None else one["seconds"] * half,
        "calls": one["calls"] * half,
    }
    return [{"members": members, "others": others, "controls": controls, **about}]


def _mean(values: Sequence[float | None]) -> float | None:
    """The mean; None where a value was not measured."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def _row_name(method: str, row: str) -> str:
    return f"{method} {row}".rstrip()


def _word(name: str) -> str:
    return name.replace("-", "_").replace(" ", "_")


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
