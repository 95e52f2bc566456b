"""Ranks of methods over tables, means with standard errors, paired differences with bootstrap intervals."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import rankdata

from intaglio.metrics.statistics.interval import interval

METRICS = {"skeleton_f1": True, "orientation_f1": True, "shd": False}
"""The ranked metrics, and whether larger is better."""
RANKED_DIGITS = 9
"""Decimals that values are rounded to before ranking, so that rounding errors make no difference."""

Results = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""By table and method: the figures of an answer, or `failure`; methods that were not run are missing."""
Facts = Mapping[str, Mapping[str, Any]]
"""By table: cell, suite, whether its family of graphs was trained on, whether it is a sound twin, columns, edges and
sortabilities."""


def table_ranks(answers: Mapping[str, Mapping[str, Any]], metric: str) -> dict[str, float]:
    """Ranks of the methods on one table, 1 is best; ties get the mean rank, failures rank last."""
    names = list(answers)
    sign = -1.0 if METRICS[metric] else 1.0
    values = [np.inf if "failure" in answers[n] else sign * round(answers[n][metric], RANKED_DIGITS) for n in names]
    return dict(zip(names, map(float, rankdata(values)), strict=True))


def mean_ranks(results: Results) -> dict[str, float]:
    """Mean over a method's tables of the mean of its ranks by skeleton F1, orientation F1 and SHD, equally weighted."""
    collected: dict[str, list[float]] = {}
    for answers in results.values():
        by_metric = [table_ranks(answers, metric) for metric in METRICS]
        for name in answers:
            collected.setdefault(name, []).append(sum(ranks[name] for ranks in by_metric) / len(METRICS))
    return {name: float(np.mean(ranks)) for name, ranks in collected.items()}


def mean_and_error(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Mean and its standard error; the mean is None without values, the error with fewer than two."""
    if not values:
        return None, None
    error = float(np.std(values, ddof=1) / len(values) ** 0.5) if len(values) > 1 else None
    return float(np.mean(values)), error


def margin(results: Results, ours: str, theirs: str, metric: str, seed: int = 0) -> dict[str, Any]:
    """Mean difference of two methods over the tables that both answered, with a 95% bootstrap interval over tables."""
    pairs = [
        (answers[ours][metric], answers[theirs][metric])
        for answers in results.values()
        if all(name in answers and "failure" not in answers[name] for name in (ours, theirs))
    ]
    if not pairs:
        return {"value": None, "low": None, "high": None, "tables": 0}
    differences = np.array([a - b for a, b in pairs], np.float64)
    low, high = interval(lambda drawn: drawn.mean(-1), [differences], seed=seed)
    return {"value": float(differences.mean()), "low": low, "high": high, "tables": len(pairs)}
