"""Measures of one row: consistency, diversity and realism of drawn pictures, with intervals over the prompts."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from intaglio.metrics.distributions import kernel_distance, kernel_distance_interval, overlap, stretched, vendi
from intaglio.metrics.statistics.interval import interval
from intaglio.sampling.verifiers.attributes import Attributes

NEAREST = 10
"""Real pictures, of 340, among which that of the prompt's name counts as told from a drawn one."""
LEAST = 6
"""Pictures from which there are overlaps: one more than the neighbours they are judged by."""


def row_measures(
    pixels: Float[Tensor, "n 3 h w"], prompts: Sequence[str], judge: Attributes, real: Float[ndarray, "m d"]
) -> dict[str, Any]:
    """Figures of drawn pictures, the intervals by resampling prompts.

    Args:
        pixels: drawn pictures, equally many of each prompt.
        prompts: of each picture.
        judge: tells the artist and the name; it must not have led the drawing.
        real: stretched descriptors of real pictures.
    """
    right_artist, right_name = judge.correct(pixels, prompts, NEAREST)
    drawn = stretched(judge.encoder.embed(pixels).numpy())
    groups = [np.flatnonzero(np.asarray(prompts) == prompt) for prompt in dict.fromkeys(prompts)]
    figures: dict[str, Any] = {
        "consistency": _over(groups, lambda rows: float((right_artist & right_name)[rows].mean())),
        "artist": _over(groups, lambda rows: float(right_artist[rows].mean())),
        "name": _over(groups, lambda rows: float(right_name[rows].mean())),
        "diversity": _over(groups, lambda rows: vendi(drawn[rows])),
        "score": _over(groups, lambda rows: _mean_score(judge, pixels, prompts, rows)),
    }
    figures["kid"] = _realism(groups, drawn, real)
    if min(len(drawn), len(real)) >= LEAST:
        figures |= overlap(drawn, real)._asdict()
    return figures


def _mean_score(judge: Attributes, pixels: Float[Tensor, "n 3 h w"], prompts: Sequence[str], rows: ndarray) -> float:
    """The judge's mean score of some pictures."""
    return float(judge(pixels[rows.tolist()], [prompts[int(k)] for k in rows]).mean())


def _over(groups: Sequence[ndarray], of: Callable[[ndarray], float]) -> dict[str, float]:
    """Mean over prompts of a figure of their pictures, with its interval."""
    values = np.array([of(rows) for rows in groups])
    low, high = interval(lambda sample: np.asarray(sample).mean(-1), [values])
    return {"mean": float(values.mean()), "low": low, "high": high}


def _realism(groups: Sequence[ndarray], drawn: ndarray, real: ndarray) -> dict[str, float]:
    """The kernel distance to real pictures, with an interval by resampling prompts."""
    low, high = kernel_distance_interval(groups, drawn, real)
    return {"mean": kernel_distance(drawn, real), "low": low, "high": high}
