"""rule-tree: a shallow tree of thresholds on features."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from sklearn.tree import DecisionTreeClassifier

from intaglio.errors import require
from intaglio.explain.heads.family import Kind, ReadableHead
from intaglio.explain.heads.fitted_head import MOST_GROUPS, FittedHead, HeadExplanation, Places, most_of
from intaglio.explain.probe_scores import Codes

ROUNDING = 1e-9
"""Decrease of impurity below which nothing is asked: balanced weights leave a pure node one of rounding."""


@dataclass(frozen=True, kw_only=True)
class RuleTree(ReadableHead):
    """Tree of thresholds on mean features, read as rules.

    Each node asks whether one feature of x [d] is above a threshold, chosen greedily by Gini impurity with classes of
    equal weight; a leaf names the class. The questions on a picture's way, at most `depth`, are the reason for its
    name. The rule family of self-interpretable networks, with frozen features below it.
    """

    kind: ClassVar[Kind] = "rule"
    reading: ClassVar[str] = "the feature in each question on its way down the tree"

    depth: int = 4
    """Questions on a way at most, 1 to 8."""
    least: int = 3
    """Pictures of a leaf at least, from 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(1 <= self.depth <= 8, f"depth must be 1 to 8, not {self.depth}")
        require(self.least >= 1, f"least must be at least 1, not {self.least}")

    def fitted(self, places: Places, truth: Codes, groups: Codes, classes: int) -> FittedHead:
        """See the family."""
        tree = DecisionTreeClassifier(
            max_depth=self.depth,
            min_samples_leaf=self.least,
            min_impurity_decrease=ROUNDING,
            class_weight="balanced",
            random_state=self.seed,
        )
        return _Tree(tree.fit(places.mean(1), truth))


@dataclass(frozen=True, eq=False)
class _Tree(FittedHead):
    tree: DecisionTreeClassifier

    def predict(self, places: Places) -> Codes:
        """See the contract."""
        return self.tree.predict(places.mean(1))

    def sizes(self, places: Places) -> Float[ndarray, "m"]:
        """See the contract: questions on the way."""
        return np.asarray(self.tree.decision_path(places.mean(1)).sum(1)).ravel() - 1.0

    def explained(self, places: Places, names: Sequence[str], truth: Codes, classes: Sequence[str]) -> HeadExplanation:
        """See the contract: a rule a leaf, and pictures with most of each feature that is asked about."""
        rows, tree = places.mean(1), self.tree.tree_
        table = list[tuple[str, ...]]()
        for leaf, questions in _leaves(tree):
            there = truth[self.tree.apply(rows) == leaf]
            named = int(self.tree.classes_[int(np.argmax(tree.value[leaf][0]))])
            right = f"{(there == named).mean():.2f}" if len(there) else "-"
            table.append((" and ".join(questions) or "always", classes[named], str(len(there)), right))
        asked = list(dict.fromkeys(int(one) for one in tree.feature if one >= 0))
        pictures = tuple((f"Most of feature {one}", most_of(rows[:, one], names)) for one in asked[:MOST_GROUPS])
        text = "One rule a leaf, with the pictures that it holds for and the share of them that has the label."
        return HeadExplanation(text, ("where", "label", "pictures", "right"), tuple(table), pictures)


def _leaves(tree: Any) -> list[tuple[int, list[str]]]:
    """Each leaf of a scikit-learn tree with the questions on its way, from the left."""
    found, open_nodes = list[tuple[int, list[str]]](), [(0, list[str]())]
    while open_nodes:
        node, questions = open_nodes.pop()
        if tree.children_left[node] < 0:
            found.append((node, questions))
            continue
        about, at = f"feature {tree.feature[node]}", f"{tree.threshold[node]:.3g}"
        open_nodes.append((int(tree.children_right[node]), [*questions, f"{about} > {at}"]))
        open_nodes.append((int(tree.children_left[node]), [*questions, f"{about} ≤ {at}"]))
    return found
