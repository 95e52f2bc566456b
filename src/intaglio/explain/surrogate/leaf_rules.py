"""Rules of a small tree: its leaves as boxes of features, their answers, and the nearest box of another class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from intaglio.randomness import seed_32bit


@dataclass(frozen=True)
class LeafRule:
    """One leaf: all rows whose features are within bounds get the same answer."""

    bounds: tuple[tuple[int, float, float], ...]
    """Of each tested column its place, and low and high: low < value <= high."""
    answer: tuple[float, ...]
    """Mean probability of each class over the fitted rows in it."""
    fitted: int
    """Rows that the leaf was fitted to."""
    rows: int
    """Held-out rows in it."""
    right: int
    """Those of them that the black box calls the leaf's class."""

    @property
    def called(self) -> int:
        """Place of the leaf's likeliest class."""
        return int(np.argmax(self.answer))

    @property
    def precision(self) -> float | None:
        """Share of the held-out rows in it that the black box calls its class; None where there are none."""
        return self.right / self.rows if self.rows else None

    def holds(self, features: Float[ndarray, "m d"]) -> ndarray:
        """Whether each row is in the leaf."""
        inside = np.ones(len(features), bool)
        for column, low, high in self.bounds:
            values = features[:, column].astype(np.float64)  # else bounds would be rounded to 32 bits
            inside &= (values > low) & (values <= high)
        return inside


@dataclass(frozen=True)
class Crossing:
    """The smallest change of a row that takes it into a leaf of another class."""

    row: int
    leaf: int
    """Place of the leaf among the rules."""
    distance: float
    """Euclidean length of the change, in deviations of the fitted rows."""
    moves: Mapping[int, tuple[float, float]]
    """Value before and after by column."""


def fitted_tree(
    features: Float[ndarray, "n d"], answers: Float[ndarray, "n k"], depth: int, leaf: int, seed: int
) -> Any:
    """A regression tree of probabilities, by the squared error."""
    from sklearn.tree import DecisionTreeRegressor

    tree = DecisionTreeRegressor(
        max_depth=depth, min_samples_leaf=leaf, random_state=seed_32bit(seed, "surrogate tree")
    )
    return tree.fit(features, answers)


def leaf_rules(tree: Any, features: Float[ndarray, "m d"], answers: Float[ndarray, "m k"]) -> tuple[LeafRule, ...]:
    """The leaves of a tree from left to right, counted on held-out rows."""
    inner, called = tree.tree_, answers.argmax(1)
    found: list[LeafRule] = []

    def visit(node: int, bounds: dict[int, tuple[float, float]]) -> None:
        column, threshold = int(inner.feature[node]), float(inner.threshold[node])
        if column < 0:
            box = tuple((name, *ends) for name, ends in sorted(bounds.items()))
            answer = tuple(float(one) for one in inner.value[node][:, 0])
            bare = LeafRule(box, answer, int(inner.n_node_samples[node]), 0, 0)
            inside = bare.holds(features)
            right = int((called[inside] == bare.called).sum())
            found.append(LeafRule(box, answer, bare.fitted, int(inside.sum()), right))
            return
        low, high = bounds.get(column, (-np.inf, np.inf))
        visit(int(inner.children_left[node]), {**bounds, column: (low, min(high, threshold))})
        visit(int(inner.children_right[node]), {**bounds, column: (max(low, threshold), high)})

    visit(0, {})
    return tuple(found)


def place_of(rules: Sequence[LeafRule], row: Float[ndarray, "d"]) -> int:
    """Place of the leaf that a row is in."""
    return next(k for k, rule in enumerate(rules) if rule.holds(row[None])[0])


def nearest_crossing(
    rules: Sequence[LeafRule], row: Float[ndarray, "d"], deviations: Float[ndarray, "d"], number: int = 0
) -> Crossing | None:
    """The smallest change that takes a row into a leaf of another class; None where all leaves are of one.

    A leaf is a box, so that the nearest point in it takes each value to its nearest bound, and the first of the nearest
    boxes is taken. A value goes to the bound, or to the next 32-bit number inside.
    """
    mine = rules[place_of(rules, row)].called
    best: Crossing | None = None
    for place, rule in enumerate(rules):
        if rule.called == mine:
            continue
        moves = {
            column: (float(row[column]), _inside(float(row[column]), low, high)) for column, low, high in rule.bounds
        }
        moves = {column: one for column, one in moves.items() if one[0] != one[1]}
        square = sum(((new - old) / deviations[column]) ** 2 for column, (old, new) in moves.items())
        if best is None or square**0.5 < best.distance:
            best = Crossing(number, place, float(square**0.5), moves)
    return best


def _inside(value: float, low: float, high: float) -> float:
    """The nearest 32-bit number with low < number <= high."""
    if value > high:
        bound = np.float32(high)
        return float(bound if bound <= high else np.nextafter(bound, np.float32(-np.inf)))
    if value <= low:
        bound = np.float32(low)
        return float(bound if bound > low else np.nextafter(bound, np.float32(np.inf)))
    return value
