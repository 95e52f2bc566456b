"""r-learner: effects that explain what is left of outcomes when their means are taken away."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from intaglio.causal.cate.family import EffectLearner, Effects
from intaglio.causal.cate.outcome_model import OutcomeModel
from intaglio.causal.cate.robust_scores import folds_of
from intaglio.causal.cate.trial_units import TrialUnits


@dataclass(frozen=True, kw_only=True)
class RLearner(EffectLearner):
    """Least squares of residual outcomes on residual treatments, with linear effects.

    With m(x) the mean outcome whatever the arm, itself predicted across folds, tau minimises the sum of
    (Y - m(x) - (W - e) tau(x))^2 with a ridge penalty: the regression of (Y - m) / (W - e) with weights (W - e)^2.

    Source: Nie and Wager, arXiv 1712.04912.
    """

    reading: ClassVar[str] = "the linear function of the features that best explains residual outcomes by treatment"

    def fit(self, units: TrialUnits) -> Effects:
        """See the class."""
        places = folds_of(units, self.folds, self.seed)
        means = np.empty(len(units))
        for number in range(self.folds):
            inside, outside = np.flatnonzero(places == number), np.flatnonzero(places != number)
            model = OutcomeModel.of(units.features[outside], units.outcome[outside])
            means[inside] = model(units.features[inside])
        apart = units.treated - units.propensity
        return OutcomeModel.of(units.features, (units.outcome - means) / apart, apart**2)
