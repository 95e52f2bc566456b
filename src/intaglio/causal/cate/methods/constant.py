"""constant: one effect for all units."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from intaglio.causal.cate.family import EffectLearner, Effects
from intaglio.causal.cate.trial_units import TrialUnits


@dataclass(frozen=True, kw_only=True)
class ConstantEffect(EffectLearner):
    """The mean effect of the other folds for every unit.

    It ranks no unit before another: where a learner's effects have a larger error than this one's, they are worse than
    none.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "the mean effect on units of the other folds"

    def fit(self, units: TrialUnits) -> Effects:
        """The difference of the arms' means, each unit weighed by one over the probability of its arm."""
        treated, e = units.treated, units.propensity
        ones = np.average(units.outcome[treated], weights=1 / e[treated])
        others = np.average(units.outcome[~treated], weights=1 / (1 - e[~treated]))
        return lambda features: np.full(len(features), ones - others)
