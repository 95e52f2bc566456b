"""The figures of the fine-tune bench: the fall of each form's likeness, and what random weights cost and gain."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intaglio.adapt.corruption import Judgement, dip, stages
from intaglio.bench.finetune.regime import AVERAGED, CHOSEN_ON, FORMS
from intaglio.metrics.statistics.interval import interval
from intaglio.runs.machine import machine, versions
from intaglio.runs.run import Run

AVERAGES = ("dip", "dip_lasting", "dip_length", "best", "final", "diversity", "quality", "stages")
"""Measures of a fine-tune whose mean over the pairs is a figure of each form."""


def figures_of(run: Run, regime: Mapping[str, Any]) -> dict[str, Any]:
    """The headline figures over all methods, then each method's own, then every pair's."""
    means = run.recorded(AVERAGED)
    pairs = [pair | {AVERAGED: means[key][AVERAGED]} for key, pair in sorted(run.recorded("pair").items())]
    timings = dict(sorted(run.recorded("timing").items()))
    overheads = {name: _overhead(timing["seconds"]) for name, timing in timings.items()}
    return {
        **_compared(pairs),
        "time_overhead": float(np.mean(list(overheads.values()))),
        "pairs": len(pairs),
        "sets": sorted({pair["set"] for pair in pairs}),
        "chosen_on": list(CHOSEN_ON),
        "seconds": run.seconds,
        "machine": machine(),
        "versions": versions(),
        "regime": dict(regime),
        "by_tuner": {
            name: {
                **_compared([pair for pair in pairs if pair["tuner"] == name]),
                "time_overhead": overheads[name],
                "memory_overhead": timing["bytes"]["bayes"] / timing["bytes"]["plain"] - 1,
            }
            for name, timing in timings.items()
        },
        "by_pair": {
            f"{pair['tuner']}/{pair['set']}/{pair['seed']}": {form: _measured(pair[form]) for form in FORMS}
            for pair in pairs
        },
    }


def _measured(curve: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The measures of one fine-tune, from its judgements."""
    judged = [Judgement(**row) for row in curve]
    fall = dip([now.step for now in judged], [now.fidelity for now in judged])
    last = judged[-1]
    return {
        "dip": fall.depth,
        "dip_lasting": fall.lasting,
        "dip_length": fall.length,
        "dip_step": fall.step,
        "best": max(now.fidelity for now in judged),
        "final": last.fidelity,
        "diversity": last.diversity,
        "quality": last.quality,
        "least_quality": min(now.quality for now in judged),
        "stages": len(stages(judged)),
        "fidelity_curve": [round(now.fidelity, 3) for now in judged],
    }


def _compared(pairs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means over pairs, with intervals from resampled pairs where a form is compared with the plain one."""
    found = {form: [_measured(pair[form]) for pair in pairs] for form in FORMS}
    values = {f"{name}_{form}": np.array([one[name] for one in found[form]]) for name in AVERAGES for form in found}

    def against_plain(form: str, ending: str) -> dict[str, float]:
        dips, finals = ((values[f"{name}_plain"], values[f"{name}_{form}"]) for name in ("dip", "final"))
        return {
            **estimate(f"dip_reduction{ending}", reduction, dips),
            **estimate(f"fidelity_gain{ending}", gain, finals),
        }

    means = {name: float(each.mean()) for name, each in values.items()}
    return {
        "dip_plain": means.pop("dip_plain"),
        "dip_bayes": means.pop("dip_bayes"),
        **against_plain("bayes", ""),
        **against_plain(AVERAGED, f"_{AVERAGED}"),
        **means,
    }


def reduction(plain: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share by which the other form's mean dip is below the plain one's: [b, pairs] each to [b]."""
    return 1 - other.mean(-1) / np.maximum(plain.mean(-1), 1e-9)


def gain(plain: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of the other form's values less the plain one's: [b, pairs] each to [b]."""
    return (other - plain).mean(-1)


def estimate(
    name: str, statistic: Callable[..., NDArray[np.float64]], samples: tuple[NDArray[np.float64], NDArray[np.float64]]
) -> dict[str, float]:
    """A statistic of pairs with its 95% interval from resampled pairs."""
    low, high = interval(statistic, samples, paired=True)
    value = float(statistic(*(sample[None] for sample in samples))[0])
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def _overhead(seconds: Mapping[str, Sequence[float]]) -> float:
    """The Bayesian form's median seconds a step over the plain one's, less 1."""
    return float(np.median(seconds["bayes"]) / np.median(seconds["plain"])) - 1
