"""The figures of the extraction bench: extraction rates by method over the suspects, and FineXtract's speed."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from intaglio.bench.extract.extraction_measures import thresholds
from intaglio.extract.family import Extractor
from intaglio.metrics.statistics.interval import Interval, interval
from intaglio.runs.machine import machine, versions
from intaglio.runs.run import Run

PUBLISHED, UNGUIDED = "finextract", "direct"
"""The method of the published comparison, and the baseline by which its strengths of fine-tuning are chosen."""
SHARE = (0.05, 0.40)
"""The headline is over strengths and kinds of fine-tune at which direct sampling extracts between these shares."""
FLOOR = 0.001
"""What a baseline that extracted nothing is divided by."""


FIGURES = ("average", "loose", "strict", "oracle_average", "oracle_loose", "oracle_strict")


def figures_of(run: Run, methods: Mapping[str, Extractor]) -> dict[str, Any]:
    """The headline, over those strengths and kinds of fine-tune at which direct sampling extracts some but not most."""
    found = list(run.recorded("suspect").values())
    cells = {key: [s for s in found if _cell(s) == key] for key in dict.fromkeys(map(_cell, found))}
    chosen = [key for key, part in cells.items() if SHARE[0] <= _mean(part, UNGUIDED, "strict") <= SHARE[1]]
    headline = [s for key in chosen or cells for s in cells[key]]
    baselines = [name for name, method in methods.items() if method.role == "baseline"]
    rates = {name: _mean(headline, name, "strict") for name in methods}
    best = max(baselines, key=lambda name: rates[name])
    similar = max(baselines, key=lambda name: _mean(headline, name, "average"))
    low, high = _ratio_interval(headline, best)
    (speed,) = run.recorded("speed").values()
    ours = sum(speed["ours"]) / len(speed["ours"])
    return {
        **{f"aesr_{name}": rates[name] for name in methods},
        "ratio_vs_best_baseline": rates[PUBLISHED] / max(rates[best], FLOOR),
        "ratio_low": low,
        "ratio_high": high,
        "best_baseline": best,
        **{f"aesr_loose_{name}": _mean(headline, name, "loose") for name in methods},
        "as_finextract": _mean(headline, PUBLISHED, "average"),
        "as_best_baseline": _mean(headline, similar, "average"),
        "seconds_per_image_ratio": ours / speed["plain"],
        "speedup_vs_plain": speed["plain"] / ours,
        "speedups": [speed["plain"] / seconds for seconds in speed["ours"]],
        "speedup_at_equal_steps": speed["plain"] / speed["equal_steps"],
        "timed_pictures": speed["pictures"],
        "headline_cells": chosen,
        "suspects": len(headline),
        "thresholds": thresholds("cpu"),
        "returned": 10,
        "seconds": run.seconds,
        "machine": machine(),
        "versions": versions(),
        "by_cell": {
            key: {name: {figure: _mean(part, name, figure) for figure in FIGURES} for name in methods}
            for key, part in cells.items()
        },
        "by_suspect": {f"{s['strength']}/{s['tuner']}/{s['set']}": s["methods"] for s in found},
    }


def _cell(suspect: Mapping[str, Any]) -> str:
    return f"{suspect['strength']}, {suspect['tuner']}"


def _mean(suspects: Sequence[Mapping[str, Any]], method: str, figure: str) -> float:
    return float(np.mean([suspect["methods"][method][figure] for suspect in suspects]))


def _ratio_interval(suspects: Sequence[Mapping[str, Any]], baseline: str) -> Interval:
    """95% of the ratio of mean strict rates, with suspects resampled; a draw without a baseline's find is the highest
    ratio of all.
    """
    ours, theirs = ([s["methods"][name]["strict"] for s in suspects] for name in (PUBLISHED, baseline))
    return interval(lambda a, b: a.mean(-1) / np.maximum(b.mean(-1), FLOOR), (ours, theirs), paired=True)
