"""Pseudo-trials of calibration rows: groups whose true difference is known, by which a correction is checked."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from intaglio.causal.debias.trial_rows import CalibrationRows
from intaglio.metrics.statistics.interval import interval
from intaglio.randomness import numpy_generator

TRIALS = 40
"""Pseudo-trials of a fold."""
TILT = 1.0
"""Standard deviation of the tilt of a trial's treated group, per standard deviation of the outcome."""

Recovered = tuple[float, float | None, float | None]
"""Share of the true effects that the estimated ones have, with its bounds; 1 is unbiased."""


def recovered_share(
    fit: Callable[[CalibrationRows], Callable[[ndarray], ndarray]], rows: CalibrationRows, folds: int, seed: int
) -> Recovered:
    """Slope of estimated effects on true ones, over pseudo-trials of rows that the fit has not seen.

    Each fold is held out once. In its pseudo-trials every row is treated with a probability that is tilted by its
    outcome, logit p = s z, with z the standardised outcome and s normal; the true effect is the difference of the
    groups' mean outcomes, the estimated one that of their corrected predictions. The slope goes through 0, and its
    interval is over pseudo-trials.
    """
    source = numpy_generator(seed, 1)
    part = source.permutation(len(rows)) % folds
    true, estimated = list[float](), list[float]()
    for fold in range(folds):
        held, learnt = rows[np.flatnonzero(part == fold)], rows[np.flatnonzero(part != fold)]
        corrected = fit(learnt)(held.predicted)
        spread = held.truth.std() or 1.0
        for _ in range(TRIALS):
            tilt = TILT * source.standard_normal()
            chance = 1 / (1 + np.exp(-tilt * (held.truth - held.truth.mean()) / spread))
            treated = source.random(len(held)) < chance
            if 0 < treated.sum() < len(treated):
                true.append(difference(held.truth, treated))
                estimated.append(difference(corrected, treated))
    pairs = [np.array(estimated) * np.array(true), np.array(true) ** 2]
    slope = float(pairs[0].sum() / pairs[1].sum())
    return slope, *interval(lambda one, two: one.mean(-1) / two.mean(-1), pairs, paired=True)


def difference(outcomes: Float[ndarray, "n"], treated: ndarray) -> float:
    """Mean outcome of treated rows less that of the others."""
    return float(outcomes[treated].mean() - outcomes[~treated].mean())
