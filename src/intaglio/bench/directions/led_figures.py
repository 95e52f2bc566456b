"""Figures of pictures that were led along directions, chosen on one half of them and measured on the other."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from intaglio.explain.directions.result import LedPictures, rank_correlations
from intaglio.metrics.statistics.interval import interval

NAMES = ("change", "control", "rank", "trend", "kept", "kept_control")
"""Figures of a row that are means over classes."""


def led_figures(led: LedPictures, *, chosen: bool) -> dict[str, Any]:
    """Of one class: how far its score moves along the best direction, beside the random one as long as the first.

    With `chosen`, the direction and its sign are those of the largest mean change over every second picture, the first
    among them; figures are of the other pictures. Else the first direction is measured as it is, on these too.
    """
    picking, measured = slice(0, None, 2), slice(1, None, 2)
    best, sign = 0, 1.0
    if chosen:
        means = led.changes[:-1, picking].mean(1)
        best = int(np.abs(means).argmax())
        sign = 1.0 if means[best] >= 0 else -1.0
    changes = sign * led.changes[best, measured]
    means = led.scores[:, :, measured].mean(2, keepdims=True)
    kept = led.similarity[:, [0, -1]][:, :, measured].mean((1, 2))
    return {
        "direction": best + 1,
        "changes": changes.tolist(),
        "change": float(changes.mean()),
        "control": float(np.abs(led.changes[-1, measured].mean())),
        "rank": float(sign * led.spearman[best, measured].mean()),
        "trend": float(sign * rank_correlations(means)[best, 0]),
        "kept": float(kept[best]),
        "kept_control": float(kept[-1]),
    }


def row_figures(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means over classes, with the interval of the change over all their pictures."""
    changes = [value for one in found for value in one["changes"]]
    ends = list(interval(lambda drawn: drawn.mean(-1), [changes])) if len(changes) > 1 else [None, None]
    return {**{name: float(np.mean([one[name] for one in found])) for name in NAMES}, "interval": ends}
