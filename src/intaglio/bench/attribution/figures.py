"""Figures of the attribution bench: how well known sources are told apart, and unknown ones from them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from intaglio.bench.attribution.source_scene import KNOWN, UNKNOWN
from intaglio.metrics.statistics.conformal import clopper_pearson
from intaglio.metrics.statistics.interval import interval
from intaglio.metrics.statistics.roc import row_aucs
from intaglio.printable import aligned
from intaglio.runs.machine import machine, versions
from intaglio.runs.run import Run

BINS = 15
"""Of equal width, in which probabilities are held against the share that is right."""
TPR = 0.95
"""Share of the known sources' pictures that the threshold of the knownness keeps."""
DRAWS = 500
"""Resamples of an interval."""
BESIDE = {"cnn": "spectrum", "pose": "cnn"}
"""What a method is to beat, by its effect in the literature."""

Numbers = Mapping[str, Mapping[str, Sequence[Any]]]
"""By source the columns of `by_source`."""


def figures_of(run: Run, rate: float) -> dict[str, Any]:
    """Headline figures, and every row by condition."""
    recorded = run.recorded("row")
    rows = {
        name: {
            "role": row["role"],
            "seconds": row["seconds"],
            "verification": row["verification"],
            "conditions": {condition: condition_figures(some) for condition, some in row["conditions"].items()},
        }
        for name, row in recorded.items()
    }
    margins = {
        f"{name}_over_{other}": margins_of(
            recorded[name]["conditions"]["plain"], recorded[other]["conditions"]["plain"]
        )
        for name, other in BESIDE.items()
        if {name, other} <= {*recorded}
    }
    headlines = ("accuracy", "false_attribution", "auroc")
    return {
        "rate": rate,
        **{
            f"{what}_{name.replace('-', '_')}_{condition.replace('-', '_')}": some[what]
            for name, row in rows.items()
            for condition, some in row["conditions"].items()
            for what in headlines
        },
        **{
            f"verification_{name.replace('-', '_')}_{kind}": value
            for name, row in rows.items()
            for kind, value in row["verification"].items()
        },
        "margins": margins,
        "seconds": run.seconds,
        "machine": machine(),
        "versions": versions(),
        "rows": rows,
    }


def condition_figures(numbers: Numbers) -> dict[str, Any]:
    """Figures of a method's numbers of all pictures that test, under one condition."""
    right, knownness = _right(numbers), _known(numbers, "knownness")
    wrong = sum(verdict >= 0 and verdict != k for k, name in enumerate(KNOWN) for verdict in numbers[name]["verdict"])
    own = sum(verdict == k for k, name in enumerate(KNOWN) for verdict in numbers[name]["verdict"])
    count = len(right)
    kinds = {kind: [name for name, one in UNKNOWN.items() if one == kind] for kind in sorted({*UNKNOWN.values()})}
    return {
        "accuracy": balanced_accuracy(numbers),
        "by_source": {name: float(np.mean(np.array(numbers[name]["likeliest"]) == k)) for k, name in enumerate(KNOWN)},
        "ece": calibration_error(np.array(_known(numbers, "confidence")), right),
        "attributed": own / count,
        "false_attribution": wrong / count,
        "false_attribution_interval": clopper_pearson(wrong, count),
        "auroc": area(knownness, _of(numbers, list(UNKNOWN), "knownness")),
        "unknown": {kind: _unknown(numbers, names, right, knownness) for kind, names in kinds.items()},
    }


def _unknown(
    numbers: Numbers, names: Sequence[str], right: Float[np.ndarray, "n"], knownness: Float[np.ndarray, "n"]
) -> dict[str, Any]:
    other, verdicts = _of(numbers, names, "knownness"), _of(numbers, names, "verdict")
    return {
        "auroc": area(knownness, other),
        "auroc_interval": list(interval(row_aucs, [knownness, other], draws=DRAWS, batch=20)),
        "auroc_by_source": {name: area(knownness, _of(numbers, [name], "knownness")) for name in names},
        "oscr": open_set_rate(right, knownness, other),
        "fpr95": float((other >= kept_from(knownness)).mean()),
        "attributed": float((verdicts >= 0).mean()),
    }


def balanced_accuracy(numbers: Numbers) -> float:
    """Share of pictures whose likeliest source is their own, averaged over the known sources."""
    shares = [np.mean(np.array(numbers[name]["likeliest"]) == k) for k, name in enumerate(KNOWN)]
    return float(np.mean(shares))


def area(known: Float[np.ndarray, "n"], unknown: Float[np.ndarray, "m"]) -> float:
    """Chance that a picture of a known source has the higher knownness, ties counted half."""
    return float(row_aucs(known[None], unknown[None])[0])


def open_set_rate(
    right: Float[np.ndarray, "n"], known: Float[np.ndarray, "n"], unknown: Float[np.ndarray, "m"]
) -> float:
    """Area under the share of known pictures that are kept and right, over the share of unknown ones that are kept.

    That is the mean over pairs of r_i ([k_i > u_j] + [k_i = u_j] / 2), with r_i 1 where picture i is told rightly.

    Args:
        right: 1 where the likeliest source of a known picture is its own, else 0.
        known: knownness of the known pictures.
        unknown: that of the unknown ones.
    """
    above = (known[:, None] > unknown[None]) + 0.5 * (known[:, None] == unknown[None])
    return float((right[:, None] * above).mean())


def kept_from(known: Float[np.ndarray, "n"]) -> float:
    """The highest threshold of the knownness that keeps at least 95% of the known pictures."""
    allowed = int(np.floor((1 - TPR) * len(known) + 1e-9))
    return float(np.sort(known)[allowed])


def calibration_error(confidence: Float[np.ndarray, "n"], right: Float[np.ndarray, "n"]) -> float:
    """Expected calibration error: mean over pictures of |mean probability - share right| of their bin."""
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.bincount(place, confidence, BINS) - np.bincount(place, right, BINS)
    return float(np.abs(gaps).sum() / len(right))


def margins_of(mine: Numbers, other: Numbers) -> dict[str, Any]:
    """Accuracy and AUROC of all unknown sources, less those of another method on the same pictures, with intervals."""
    ours, theirs = _right(mine), _right(other)
    names = list(UNKNOWN)
    columns = [np.stack([_known(one, "knownness"), np.arange(len(ours))], 1) for one in (mine, other)]
    known, unknown = [one[:, 0] for one in columns], [_of(one, names, "knownness") for one in (mine, other)]

    def gain(rows: Int[np.ndarray, "b n"], further: Int[np.ndarray, "b m"]) -> Float[np.ndarray, "b"]:
        return row_aucs(known[0][rows], unknown[0][further]) - row_aucs(known[1][rows], unknown[1][further])

    places = [np.arange(len(known[0])), np.arange(len(unknown[0]))]
    return {
        "accuracy": float((ours - theirs).mean()),
        "accuracy_interval": list(interval(lambda drawn: drawn.mean(-1), [ours - theirs], draws=DRAWS)),
        "auroc": float(gain(*(one[None] for one in places))[0]),
        "auroc_interval": list(interval(gain, places, draws=DRAWS, batch=5)),
    }


def _right(numbers: Numbers) -> Float[np.ndarray, "n"]:
    """1 where the likeliest source of a known picture is its own, else 0."""
    told = [np.array(numbers[name]["likeliest"]) == k for k, name in enumerate(KNOWN)]
    return np.concatenate(told).astype(float)


def _known(numbers: Numbers, column: str) -> Float[np.ndarray, "n"]:
    return _of(numbers, list(KNOWN), column)


def _of(numbers: Numbers, names: Sequence[str], column: str) -> Float[np.ndarray, "n"]:
    return np.concatenate([np.array(numbers[name][column], dtype=float) for name in names])


def table_of(figures: Mapping[str, Any]) -> str:
    """Rows of methods and conditions, then the same beside each kind of unknown source."""
    rate = f"{figures['rate']:.0%}"
    lines: list[tuple[str, ...]] = [
        ("method", "pictures", "accuracy", "ECE", "attributed", f"false at {rate}", "95%", "pairs", "new pairs", "s")
    ]
    second: list[tuple[str, ...]] = [
        ("method", "pictures", "unknown by", "AUROC", "95%", "OSCR", "FPR 95", "attributed")
    ]
    for name, row in figures["rows"].items():
        pairs = [f"{row['verification'][kind]:.3f}" for kind in ("known", "unknown")]
        for condition, some in row["conditions"].items():
            told = [f"{some[what]:.3f}" for what in ("accuracy", "ece", "attributed", "false_attribution")]
            ends = _between(some["false_attribution_interval"])
            last = (*pairs, f"{row['seconds']:.0f}") if condition == "plain" else ("-", "-", "-")
            lines.append((name, condition, *told, ends, *last))
            for kind, one in some["unknown"].items():
                told = [f"{one[what]:.3f}" for what in ("oscr", "fpr95", "attributed")]
                second.append((name, condition, kind, f"{one['auroc']:.3f}", _between(one["auroc_interval"]), *told))
    return f"{aligned(lines)}\n\n{aligned(second)}"


def _between(ends: Sequence[float]) -> str:
    return f"{ends[0]:.3f} to {ends[1]:.3f}"
