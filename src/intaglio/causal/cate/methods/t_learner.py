"""t-learner: the difference of two outcome models, one of each arm."""

from dataclasses import dataclass
from typing import ClassVar

from intaglio.causal.cate.family import EffectLearner, Effects
from intaglio.causal.cate.outcome_model import OutcomeModel
from intaglio.causal.cate.trial_units import TrialUnits


@dataclass(frozen=True, kw_only=True)
class TLearner(EffectLearner):
    """Difference of two ridge regressions, of treated units and of the others.

    Each arm has its own penalty, chosen by leaving rows out. Where outcomes depend on features much more than effects
    do, the two regressions' errors hide the effects.

    Source: Kuenzel et al., arXiv 1706.03461.
    """

    reading: ClassVar[str] = "the outcome predicted from treated units less that predicted from the others"

    def fit(self, units: TrialUnits) -> Effects:
        """See the class."""
        arms = units.treated, ~units.treated
        treated, others = (OutcomeModel.of(units.features[arm], units.outcome[arm]) for arm in arms)
        return lambda features: treated(features) - others(features)
