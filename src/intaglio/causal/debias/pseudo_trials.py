"""Pseudo-trials of calibration rows: groups whose true difference is known, by which a correction is checked."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from intaglio.causal.debias.trial_rows import CalibrationRows
from intaglio.errors import BadInput
from intaglio.randomness import numpy_generator

TRIALS = 40
"""Pseudo-trials of a fold."""
TILT = 1.0
"""Standard deviation of the tilt of a trial's treated group, per standard deviation of the outcome."""
DRAWS = 100
"""Resamples of the rows."""
FEWEST = 4
"""Rows of a fold, at least."""

Recovered = tuple[float, float, float]
"""Slope of estimated effects on true ones, with its bounds; 1 is unbiased."""
Fit = Callable[[CalibrationRows], Callable[[ndarray], ndarray]]


def recovered_share(fit: Fit, rows: CalibrationRows, folds: int, seed: int) -> Recovered:
    """Slope of estimated effects on true ones, over pseudo-trials of rows that the fit has not seen.

    Each fold is held out once. In its pseudo-trials every row is treated with a probability that is tilted by its
    outcome, logit p = s z, with z the standardised outcome and s normal; the true effect is the difference of the
    groups' mean outcomes, the estimated one that of their corrected predictions. The slope goes through 0. Its interval
    of 95% is by resampling the rows of each fold, since pseudo-trials of the same rows are no further data.

    Raises `BadInput` for folds of fewer than four rows, and where the fit does.
    """
    if len(rows) < FEWEST * folds:
        most = len(rows) // FEWEST
        raise BadInput(f"{len(rows)} calibration rows have no {folds} folds of {FEWEST}; give at most --folds {most}")
    parts = np.array_split(numpy_generator(seed, 1).permutation(len(rows)), folds)
    slope = _slope(fit, rows, parts, seed, 0)
    drawn = list[float]()
    for draw in range(1, DRAWS + 1):
        source = numpy_generator(seed, 2, draw)
        try:
            drawn.append(_slope(fit, rows, [source.choice(part, len(part)) for part in parts], seed, draw))
        except BadInput:  # these rows allow no correction
            continue
    low, high = np.quantile(drawn or [slope], [0.025, 0.975]).tolist()
    return slope, low, high


def _slope(fit: Fit, rows: CalibrationRows, parts: Sequence[Int[ndarray, "_"]], seed: int, draw: int) -> float:
    """The slope over pseudo-trials of all folds, each fitted on the others."""
    source, true, estimated = numpy_generator(seed, 3, draw), list[float](), list[float]()
    for number, part in enumerate(parts):
        held, learnt = rows[part], rows[np.concatenate([one for k, one in enumerate(parts) if k != number])]
        corrected = fit(learnt)(held.predicted)
        spread = held.truth.std() or 1.0
        for _ in range(TRIALS):
            tilt = TILT * source.standard_normal()
            chance = 1 / (1 + np.exp(-tilt * (held.truth - held.truth.mean()) / spread))
            treated = source.random(len(held)) < chance
            if 0 < treated.sum() < len(treated):
                true.append(difference(held.truth, treated))
                estimated.append(difference(corrected, treated))
    weights = np.array(true)
    return float((np.array(estimated) * weights).sum() / max((weights**2).sum(), 1e-300))


def difference(outcomes: Float[ndarray, "n"], treated: ndarray) -> float:
    """Mean outcome of treated rows less that of the others."""
    return float(outcomes[treated].mean() - outcomes[~treated].mean())
