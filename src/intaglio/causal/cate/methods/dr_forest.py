"""dr-forest: a random forest fitted to doubly robust scores."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from intaglio.causal.cate.family import EffectLearner, Effects
from intaglio.causal.cate.robust_scores import crossed_scores
from intaglio.causal.cate.trial_units import TrialUnits
from intaglio.errors import require


@dataclass(frozen=True, kw_only=True)
class DRForest(EffectLearner):
    """Random forest on doubly robust scores, whose mean at given features is the effect there.

    The scores of the learner's own units are made across folds, apart from those that judge it. Effects need not be
    linear in the features.

    Source: Kennedy, arXiv 2004.14497 (the regression of scores).
    """

    reading: ClassVar[str] = "the mean score of alike units in the trees of a forest"

    trees: int = 300
    """Trees, from 10."""
    leaf: int = 10
    """Units of a leaf, at least, from 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.trees >= 10, f"trees must be at least 10, not {self.trees}")
        require(self.leaf >= 1, f"leaf must be at least 1, not {self.leaf}")

    def fit(self, units: TrialUnits) -> Effects:
        """See the class."""
        from sklearn.ensemble import RandomForestRegressor

        forest = RandomForestRegressor(
            self.trees, min_samples_leaf=self.leaf, max_features=1 / 3, random_state=self.seed % 2**32, n_jobs=1
        )
        forest.fit(units.features, crossed_scores(units, self.folds, self.seed))
        return lambda features: np.asarray(forest.predict(features), np.float64)
