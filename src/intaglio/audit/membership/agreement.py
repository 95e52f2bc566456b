"""Agreement of a verdict with the loss differences of the models, which see another trace of the same training."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binom

from intaglio.audit.membership.verdict import Verdict
from intaglio.metrics.statistics.conformal import rank_test

LEVEL = 0.05
"""p-value at which a whole set's evidence counts, for scores and for loss differences alike."""
SWAPPED_P = 0.01
"""p-value of lower loss differences than the controls' below which the models seem to be swapped."""
FEWEST = 3
"""Least number of questioned pictures of which it can be said that they left no trace."""
STANDARD_ERRORS = 2.0
"""Standard errors above zero that a mean loss difference must reach where there are no controls."""
SWAPPED_STANDARD_ERRORS = 3.0
"""Standard errors below zero beyond which the models seem to be swapped, where there are no controls."""

SWAPPED = "the base fits these pictures better than the suspect: are --suspect and --base swapped?"
NO_SIGNAL = (
    "neither the verdict's score nor the denoising loss sets the questioned pictures apart from the controls; either "
    "they were not in the set, or the fine-tune was too weak to leave a trace"
)
SCORE_ALONE = (
    "two signals disagree: the verdict's score sets the questioned pictures apart from the controls, but compared with "
    "the base, the suspect denoises them no better than the controls. A score can also tell two kinds of pictures "
    "apart (another hand, medium, source or compression); make sure that the controls are of the same kind, and give "
    "no more weight to the verdict than to the weaker of the two signals"
)
LOSS_ALONE = (
    "two signals disagree: compared with the base, the suspect denoises the questioned pictures better than the "
    "controls, but the verdict's score does not set them apart. The suspect may have learnt their kind rather than "
    "these pictures, or the score may miss a trace that the loss shows; make sure that the controls are of their kind"
)


@dataclass(frozen=True)
class Agreement:
    """The words about a verdict beside the loss differences."""

    warnings: tuple[str, ...] = ()
    no_signal: str | None = None
    """Why the models show no trace of the questioned pictures; None where any signal does."""


def agreement(verdict: Verdict, questioned: ArrayLike, controls: ArrayLike) -> Agreement:
    """Compare what the verdict's scores and the loss differences say of the questioned pictures as a whole.

    A loss difference is the base's denoising loss less the suspect's. Fine-tuning lowers it for pictures outside the
    set too, so that it is compared with that of the controls, never with zero, where there are any. Both signals are
    held to one test, so that a verdict that rests on the loss differences themselves cannot disagree with them.

    Args:
        verdict: the questioned pictures', with its own rank test.
        questioned: their loss differences [m], NaN where there is none.
        controls: those of the controls [n].
    """
    tested, known = _known(questioned), _known(controls)
    if not tested.size:
        return Agreement()
    if tested.mean() < 0 and _lower(tested, known):
        return Agreement((SWAPPED,))
    by_loss, by_score = _higher(tested, known), shows_a_trace(verdict)
    if by_score and not by_loss and tested.size >= FEWEST:
        return Agreement((SCORE_ALONE,))
    if by_loss and not by_score and verdict.set_test.p_value is not None:
        return Agreement((LOSS_ALONE,))
    return Agreement(no_signal=NO_SIGNAL if not (by_loss or by_score) and tested.size >= FEWEST else None)


def shows_a_trace(verdict: Verdict) -> bool:
    """Whether a verdict says more than chance: by the rank test of the whole set, or by the number of calls."""
    calls = [row.called for row in verdict.rows if row.called is not None]
    by_chance = binom.sf(sum(calls) - 1, len(calls), verdict.threshold.asked_rate) if any(calls) else 1.0
    return bool(by_chance <= LEVEL) or (verdict.set_test.p_value is not None and verdict.set_test.p_value <= LEVEL)


def _higher(tested: NDArray, known: NDArray) -> bool:
    p = rank_test(tested, known).p_value
    return p <= LEVEL if p is not None else _standard_errors(tested) >= STANDARD_ERRORS


def _lower(tested: NDArray, known: NDArray) -> bool:
    p = rank_test(-tested, -known).p_value
    return p < SWAPPED_P if p is not None else _standard_errors(tested) < -SWAPPED_STANDARD_ERRORS


def _standard_errors(values: NDArray) -> float:
    """Distance of the mean from zero in standard errors; 0 for a single value."""
    if values.size < 2:
        return 0.0
    return float(values.mean() / max(values.std(ddof=1) / np.sqrt(values.size), 1e-30))


def _known(values: ArrayLike) -> NDArray[np.float64]:
    flat = np.asarray(values, dtype=np.float64).ravel()
    return flat[~np.isnan(flat)]
