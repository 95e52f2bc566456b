"""Confidence intervals of statistics by the percentile bootstrap."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import bootstrap

Interval = tuple[float, float]
"""(low, high)"""


def interval(
    statistic: Callable[..., NDArray],
    samples: Sequence[ArrayLike],
    *,
    paired: bool = False,
    level: float = 0.95,
    draws: int = 2000,
    batch: int | None = None,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap interval of a statistic of one sample or more.

    Each sample is resampled with replacement to its own size: by itself, so that strata keep their counts, or, with
    `paired`, all at the same observations. Samples of one observation stay as they are.

    Args:
        statistic: takes a resample [b, n] of each sample, returns its values [b].
        samples: observations [n] each, at least one; with `paired` all of one size.
        paired: whether the k-th observations of all samples belong together.
        level: coverage asked for, in (0, 1).
        draws: resamples, at least 1.
        batch: resamples given to `statistic` at once, which bounds its memory; None gives all.
        seed: the same seed with samples of the same sizes takes the same observations.
    """
    fixed = [np.asarray(sample) for sample in samples]
    several = [len(sample) > 1 for sample in fixed]

    def values(*resampled: NDArray, axis: int) -> NDArray:
        rows, drawn = len(resampled[0]), iter(resampled)
        return statistic(
            *(
                next(drawn) if varies else np.broadcast_to(sample, (rows, 1))
                for sample, varies in zip(fixed, several, strict=True)
            )
        )

    if not any(several):
        value = float(values(fixed[0][None], axis=-1)[0])
        return value, value
    found = bootstrap(
        [sample for sample, varies in zip(fixed, several, strict=True) if varies],
        values,
        n_resamples=draws,
        batch=batch,
        vectorized=True,
        paired=paired,
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(found.low), float(found.high)
