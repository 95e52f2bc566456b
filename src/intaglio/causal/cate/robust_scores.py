"""Doubly robust scores of units, whose mean at given features is the effect there."""

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from intaglio.causal.cate.outcome_model import OutcomeModel
from intaglio.causal.cate.trial_units import TrialUnits
from intaglio.randomness import numpy_generator


def robust_scores(
    units: TrialUnits, treated: Float[ndarray, "n"], untreated: Float[ndarray, "n"]
) -> Float[ndarray, "n"]:
    """m1 - m0 + (W - e) / (e (1 - e)) (Y - m_W), with predicted outcomes m1 and m0 of either arm.

    Where e is the true propensity, and m were not learnt from the unit, its mean is the effect whatever m are.
    """
    own = np.where(units.treated, treated, untreated)
    weights = (units.treated - units.propensity) / (units.propensity * (1 - units.propensity))
    return treated - untreated + weights * (units.outcome - own)


def crossed_scores(units: TrialUnits, folds: int, seed: int) -> Float[ndarray, "n"]:
    """`robust_scores` with outcomes that each unit's own fold did not teach."""
    places = folds_of(units, folds, seed)
    means = np.empty((2, len(units)))
    for number in range(folds):
        inside, outside = places == number, places != number
        for k, arm in enumerate((units.treated, ~units.treated)):
            model = OutcomeModel.of(units.features[outside & arm], units.outcome[outside & arm])
            means[k, inside] = model(units.features[inside])
    return robust_scores(units, means[0], means[1])


def folds_of(units: TrialUnits, folds: int, seed: int) -> Int[ndarray, "n"]:
    """The fold of each unit, drawn in each arm by itself, so that all folds have as many of each."""
    found = np.empty(len(units), dtype=int)
    for number, arm in enumerate((units.treated, ~units.treated)):
        places = numpy_generator(seed, 0, number).permutation(np.flatnonzero(arm))
        found[places] = np.arange(len(places)) % folds
    return found
