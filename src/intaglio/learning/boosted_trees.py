"""Boosted trees for two classes: learnt by scikit-learn, kept as plain arrays, and walked without it.

Arrays can be stored as safetensors beside other weights, where a stored estimator would be a pickle, which runs code.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int32, Shaped
from numpy import ndarray
from scipy.special import expit

from intaglio.errors import BadInput

MOST_AT_ONCE = 2_000_000
"""Most rows times trees that are walked at once, which bounds memory."""


@dataclass(frozen=True, eq=False)
class BoostedTrees:
    """The sum of t trees over f features: k nodes of all trees in one list, each before its children.

    Integers are 32-bit, numbers 64-bit.

    Raises:
        BadInput: arrays of different lengths, of another type, or that lead back or out of the list.
    """

    feature: Shaped[ndarray, "_"]
    """Feature that a node splits by; -1 at a leaf."""
    threshold: Shaped[ndarray, "_"]
    """Largest value that goes to the left."""
    missing_left: Shaped[ndarray, "_"]
    """Whether NaN goes to the left."""
    left: Shaped[ndarray, "_"]
    right: Shaped[ndarray, "_"]
    """Children; 0 at a leaf."""
    value: Shaped[ndarray, "_"]
    """Summand of a leaf; 0 elsewhere."""
    roots: Shaped[ndarray, "_"]
    """First node of each tree."""
    baseline: Shaped[ndarray, "_"]
    """The summand before all trees, as an array of one number."""
    features: int
    """Number of features f."""

    def __post_init__(self):
        k = len(self.feature)
        for name, kind in _TYPES.items():
            array = getattr(self, name)
            due = {"roots": (len(self.roots),), "baseline": (1,)}.get(name, (k,))
            if array.dtype != kind or array.shape != due:
                raise BadInput(f"trees with {name} of {array.dtype} {list(array.shape)}, not {kind} {list(due)}")
        inner = self.feature >= 0
        for children in (self.left[inner], self.right[inner]):
            if ((children <= np.flatnonzero(inner)) | (children >= k)).any():
                raise BadInput("trees whose branches lead back or nowhere; take the weights from where they were made")
        outside = self.feature.max(initial=-1) >= self.features or ((self.roots < 0) | (self.roots >= k)).any()
        if outside or not all(np.isfinite(part).all() for part in (self.value, self.baseline)):
            raise BadInput("trees with unknown features or roots, or with values that are not finite")

    def log_odds(self, rows: Float64[ndarray, "n f"]) -> Float64[ndarray, "n"]:
        """Log-odds of the second class for each row of features, NaN where missing.

        Raises:
            BadInput: another number of features.
        """
        if rows.shape[1] != self.features:
            raise BadInput(f"{rows.shape[1]} features for trees over {self.features}")
        found = np.full(len(rows), self.baseline[0])
        step = max(1, MOST_AT_ONCE // max(1, len(self.roots)))
        for start in range(0, len(rows), step):
            part = rows[start : start + step]
            found[start : start + step] += self.value[self._leaves(part)].sum(1)
        return found

    def probability(self, rows: Float64[ndarray, "n f"]) -> Float64[ndarray, "n"]:
        """Probability of the second class for each row of features."""
        return expit(self.log_odds(rows))

    def _leaves(self, rows: Float64[ndarray, "n f"]) -> Int32[ndarray, "n t"]:
        """The leaf that each row ends at in each tree."""
        node = np.broadcast_to(self.roots, (len(rows), len(self.roots))).copy()
        row, tree = np.nonzero(self.feature[node] >= 0)
        while row.size:
            at = node[row, tree]
            given = rows[row, self.feature[at]]
            to_left = np.where(np.isnan(given), self.missing_left[at], given <= self.threshold[at])
            at = np.where(to_left, self.left[at], self.right[at])
            node[row, tree] = at
            inner = self.feature[at] >= 0
            row, tree = row[inner], tree[inner]
        return node

    def arrays(self) -> dict[str, ndarray]:
        """All of it by name, for a file of arrays."""
        return {field.name: np.atleast_1d(np.asarray(getattr(self, field.name))) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, ndarray]) -> "BoostedTrees":
        """The trees of `arrays`. Raises `BadInput` where one is missing or makes no trees."""
        if missing := [field.name for field in fields(cls) if field.name not in arrays]:
            raise BadInput(f"trees without {missing[0]!r}; take the weights from where they were made")
        held = {name: arrays[name] for name in _TYPES}
        return cls(**held, features=int(arrays["features"].flat[0]))


_TYPES = {
    "feature": np.int32,
    "threshold": np.float64,
    "missing_left": np.bool_,
    "left": np.int32,
    "right": np.int32,
    "value": np.float64,
    "roots": np.int32,
    "baseline": np.float64,
}


def fit_boosted_trees(
    rows: Float64[ndarray, "n f"],
    second: Bool[ndarray, "n"],
    *,
    seed: int,
    weights: Float64[ndarray, "n"] | None = None,
    **settings: Any,
) -> BoostedTrees:
    """Trees learnt by scikit-learn's histogram gradient boosting with the log-loss.

    Args:
        rows: features, NaN where missing.
        second: whether a row is of the second class; both must occur.
        seed: seed of what is random in the learning.
        weights: weights of the rows; None for equal ones.
        settings: settings of `sklearn.ensemble.HistGradientBoostingClassifier`.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    learnt = HistGradientBoostingClassifier(random_state=seed, **settings).fit(rows, second, sample_weight=weights)
    return trees_of(learnt)


def trees_of(learnt: Any) -> BoostedTrees:
    """The trees of a fitted `HistGradientBoostingClassifier` for two classes, without categorical features."""
    each = [stage[0].nodes for stage in learnt._predictors]
    starts = np.cumsum([0, *(len(nodes) for nodes in each)])
    nodes = np.concatenate(each)
    offsets = np.repeat(starts[:-1], [len(one) for one in each])
    leaf = nodes["is_leaf"].astype(bool)
    return BoostedTrees(
        feature=np.where(leaf, -1, nodes["feature_idx"]).astype(np.int32),
        threshold=np.where(leaf, 0.0, nodes["num_threshold"]).astype(np.float64),
        missing_left=nodes["missing_go_to_left"].astype(bool),
        left=np.where(leaf, 0, nodes["left"] + offsets).astype(np.int32),
        right=np.where(leaf, 0, nodes["right"] + offsets).astype(np.int32),
        value=np.where(leaf, nodes["value"], 0.0).astype(np.float64),
        roots=starts[:-1].astype(np.int32),
        baseline=np.array([float(np.ravel(learnt._baseline_prediction)[0])]),
        features=int(learnt.n_features_in_),
    )
