"""Pseudo-trials of calibration rows: groups whose true difference is known, by which a correction is checked."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.special import expit

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
    source, products, squares = numpy_generator(seed, 3, draw), 0.0, 0.0
    for number, part in enumerate(parts):
        held, learnt = rows[part], rows[np.concatenate([one for k, one in enumerate(parts) if k != number])]
        corrected = fit(learnt)(held.predicted)
        standard = (held.truth - held.truth.mean()) / (held.truth.std() or 1.0)
        chance = expit(TILT * source.standard_normal((TRIALS, 1)) * standard)
        treated = source.random((TRIALS, len(held))) < chance
        treated = treated[treated.any(1) & ~treated.all(1)]
        true, estimated = differences(held.truth, treated), differences(corrected, treated)
        products, squares = products + float(true @ estimated), squares + float(true @ true)
    return products / max(squares, 1e-300)


def differences(outcomes: Float[ndarray, "n"], treated: Bool[ndarray, "t n"]) -> Float[ndarray, "t"]:
    """Mean outcome of treated rows less that of the others, in each of t trials with both."""
    counts = treated.sum(1)
    inside = treated @ outcomes
    return inside / counts - (outcomes.sum() - inside) / (len(outcomes) - counts)
