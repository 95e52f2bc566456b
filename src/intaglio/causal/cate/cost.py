"""The time of learning effects, before it begins."""

import time

from intaglio.causal.cate.family import EffectLearner
from intaglio.causal.cate.robust_scores import folds_of
from intaglio.causal.cate.trial_units import TrialUnits
from intaglio.runs.time_plan import TimePlan


def cate_plan(method: EffectLearner, units: TrialUnits) -> TimePlan:
    """Seconds of all folds, by one of them that is timed."""
    began = time.perf_counter()
    if units.features.shape[1]:
        method.fit(units[(folds_of(units, method.folds, method.seed) != 0).nonzero()[0]])
    parts = {"folds": (time.perf_counter() - began) * method.folds}
    return TimePlan(parts, f"units      {len(units):,} of {units.features.shape[1]} features, {method.folds} folds")
