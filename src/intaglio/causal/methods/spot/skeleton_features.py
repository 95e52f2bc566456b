"""Features of pairs of variables: partial correlations of order 0, 1 and 2 within the neighbours of a pair, summed up.

Beside them stand the partial correlations given all neighbours of one variable, and given all others.

The cascade is that of SPOT (arXiv 2406.10537) after ML4S (KDD 2022): each order takes its conditioning sets from the
neighbours that the order before left. A variable is a neighbour where the test rejects independence, and a statistic
that is not defined is missing, not a number.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int
from numpy import ndarray

from intaglio.causal.methods.spot.larger_sets import severities_given_all, severities_given_neighbours
from intaglio.causal.methods.spot.partial_correlations import p_values, partial_correlations, severities
from intaglio.errors import BadInput
from intaglio.randomness import numpy_generator

LEVEL = 0.15
"""P-value of the correlation up to which two variables are first taken for neighbours."""
MOST_SETS = 1000
"""Most conditioning sets of a pair; beyond, as many of them are drawn without replacement."""
MOST_ORDER = 2
"""Highest order of the partial correlations."""
PERCENTILES = tuple(range(0, 101, 10))
"""Percentiles of the p-values, and of the severities, over a pair's conditioning sets."""
DECIMALS = 12
"""Decimals of the correlations in the comparison that puts variables in order."""

_SUMMARY = ("mean", "deviation", "largest", "smallest", *(f"percentile {k}" for k in PERCENTILES))
PAIR_FEATURES = (
    "severity of the correlation",
    "larger rank among the correlations of one variable",
    "smaller rank among the correlations of one variable",
    "neighbours of the variable with more",
    "neighbours of the variable with fewer",
    "neighbours of both",
    "conditioning sets",
    "larger severity given the neighbours of one variable",
    "smaller severity given the neighbours of one variable",
    "severity given all others",
    "rows",
    "variables",
)
"""Features of a pair that need no list of conditioning sets; neighbours are without the two themselves."""
SET_FEATURES = tuple(f"{name} of the {what}" for what in ("p-values", "severities") for name in _SUMMARY)
"""Features of a pair over its conditioning sets; missing where there is no set or too few rows for it."""
FEATURES = PAIR_FEATURES + SET_FEATURES


@dataclass(frozen=True, eq=False)
class SkeletonFeatures:
    """Features of all pairs i < j of variables, one order of the cascade."""

    values: Float64[ndarray, "p f"]
    """One row per pair in the order of `numpy.triu_indices(d, 1)`, one column per name of `FEATURES`; NaN: missing."""

    def column(self, name: str) -> Float64[ndarray, "p"]:
        """The values of one feature."""
        return self.values[:, FEATURES.index(name)]


def marginal_neighbours(correlation: Float64[ndarray, "d d"], rows: int, level: float = LEVEL) -> Bool[ndarray, "d d"]:
    """Pairs whose correlation has a p-value of `level` or less; all pairs where the rows are too few for a test."""
    found = ~(p_values(severities(correlation, rows, 0)) > level)
    np.fill_diagonal(found, False)
    return found


def skeleton_features(
    correlation: Float64[ndarray, "d d"],
    rows: int,
    order: int,
    neighbours: Bool[ndarray, "d d"],
    seed: int = 0,
    most_sets: int = MOST_SETS,
) -> SkeletonFeatures:
    """Features of every pair from the partial correlations of one order.

    The conditioning sets of i and j are all sets of `order` variables among the neighbours of i or j, at most
    `most_sets` of them. Variables are first put in an order that follows from the correlations alone, so that a
    permutation of the columns permutes the pairs and changes no feature, unless two variables have the same absolute
    correlations. Neither do the signs of columns matter.

    Args:
        correlation: correlation matrix, positive definite, with a diagonal of ones.
        rows: rows that it was computed from.
        order: size of the conditioning sets, 1 or 2.
        neighbours: symmetric; those of order 0 are given by `marginal_neighbours`.
        seed: seed of the draw of conditioning sets where there are more than `most_sets`.
        most_sets: most conditioning sets of a pair, 1 or more.

    Raises:
        BadInput: another order, no set allowed, or neighbours that are not symmetric.
    """
    d = len(correlation)
    if not 1 <= order <= MOST_ORDER or most_sets < 1:
        raise BadInput(f"order {order} with {most_sets} sets has no features; take order 1 or 2, and 1 set or more")
    if not np.array_equal(neighbours, neighbours.T):
        raise BadInput("neighbours are not symmetric; where i is a neighbour of j, let j be one of i")
    place = _order_by_content(correlation)
    block = np.ix_(place, place)
    inside = neighbours[block] & ~np.eye(d, dtype=bool)
    found = np.full((d, d, len(FEATURES)), np.nan)
    sets = _Sets(correlation[block], order, seed)
    for i in range(d - 1):
        partial = sets.of_pairs(i, inside, most_sets)
        found[i, i + 1 :, len(PAIR_FEATURES) :] = _summaries(severities(partial, rows, order))
        found[i, i + 1 :, PAIR_FEATURES.index("conditioning sets")] = (~np.isnan(partial)).sum(1)
    first, second = np.triu_indices(d, 1)
    back = np.argsort(place)
    low, high = np.minimum(back[first], back[second]), np.maximum(back[first], back[second])
    values = found[low, high]
    _fill_pair_features(values, correlation, rows, neighbours & ~np.eye(d, dtype=bool))
    return SkeletonFeatures(values)


class _Sets:
    """All sets of one size, in a random order: a pair's sample is the first of them that lie within its neighbours."""

    def __init__(self, correlation: Float64[ndarray, "d d"], order: int, seed: int):
        self.correlation, d = correlation, len(correlation)
        members = np.arange(d)[:, None] if order == 1 else np.column_stack(np.triu_indices(d, 1))
        self.members: Int[ndarray, "s k"] = numpy_generator(seed, order).permutation(members)

    def of_pairs(self, i: int, neighbours: Bool[ndarray, "d d"], most: int) -> Float64[ndarray, "q m"]:
        """Partial correlations of i and each later variable given each set; NaN beyond the number of a pair's sets."""
        later = np.arange(i + 1, len(self.correlation))
        around = neighbours[i] | neighbours[later]
        around[:, i] = around[np.arange(len(later)), later] = False
        usable = around[:, self.members].all(2) if len(self.members) else np.zeros((len(later), 0), bool)
        number = np.cumsum(usable, axis=1)
        pair, which = np.nonzero(usable & (number <= most))
        found = np.full((len(later), int(min(most, number[:, -1].max(initial=0))) if number.size else 0), np.nan)
        found[pair, number[pair, which] - 1] = partial_correlations(
            self.correlation, np.full(len(pair), i), later[pair], self.members[which]
        )
        return found


def _summaries(severity: Float64[ndarray, "q m"]) -> Float64[ndarray, "q f"]:
    """The features of the conditioning sets of each pair; NaN stands for no set, and a pair's first ones count."""
    made = np.full((len(severity), len(SET_FEATURES)), np.nan)
    count = (~np.isnan(severity)).sum(1)
    if (some := np.flatnonzero(count)).size:
        ordered = np.sort(severity[some], axis=1)  # NaN last
        # P-values fall as severities rise, so that one sorting serves both.
        falling = p_values(ordered)
        made[some] = np.hstack([_summary(falling, count[some], True), _summary(ordered, count[some], False)])
    return made


def _summary(ordered: Float64[ndarray, "q m"], count: Int[ndarray, "q"], falling: bool) -> Float64[ndarray, "q f"]:
    """Mean, deviation, extremes and percentiles of the first `count` values of each row, which are in order."""
    each = np.arange(len(ordered))
    known = np.where(np.arange(ordered.shape[1]) < count[:, None], ordered, 0.0)
    mean = known.sum(1) / count
    variance = (np.where(np.arange(ordered.shape[1]) < count[:, None], ordered - mean[:, None], 0.0) ** 2).sum(1)
    ends = ordered[:, 0], ordered[each, count - 1]
    largest, smallest = ends if falling else ends[::-1]
    share = np.array(PERCENTILES) / 100
    position = (1 - share if falling else share) * (count[:, None] - 1)
    below = np.minimum(position.astype(int), count[:, None] - 1)
    above = np.minimum(below + 1, count[:, None] - 1)
    part = position - below
    inner = (1 - part) * ordered[each[:, None], below] + part * ordered[each[:, None], above]
    return np.column_stack([mean, np.sqrt(variance / count), largest, smallest, inner])


def _fill_pair_features(
    values: Float64[ndarray, "p f"], correlation: Float64[ndarray, "d d"], rows: int, neighbours: Bool[ndarray, "d d"]
) -> None:
    """Writes the features that need no conditioning set into their columns, but for the number of sets."""
    d = len(correlation)
    i, j = np.triu_indices(d, 1)
    strength = np.round(np.abs(correlation), DECIMALS)
    np.fill_diagonal(strength, -1.0)
    rank = (strength[:, :, None] < strength[:, None, :]).sum(2)  # [i, j]: variables that i is more correlated with
    degree, shared = neighbours.sum(1), neighbours.astype(int) @ neighbours
    own = neighbours[i, j]
    around = severities_given_neighbours(correlation, rows, neighbours)
    by_one, by_other = around[i, j], around[j, i]
    numbers = {
        "severity of the correlation": severities(correlation[i, j], rows, 0),
        "larger rank among the correlations of one variable": np.maximum(rank[i, j], rank[j, i]),
        "smaller rank among the correlations of one variable": np.minimum(rank[i, j], rank[j, i]),
        "neighbours of the variable with more": np.maximum(degree[i], degree[j]) - own,
        "neighbours of the variable with fewer": np.minimum(degree[i], degree[j]) - own,
        "neighbours of both": shared[i, j],
        "larger severity given the neighbours of one variable": np.fmax(by_one, by_other),
        "smaller severity given the neighbours of one variable": np.fmin(by_one, by_other),
        "severity given all others": severities_given_all(correlation, rows)[i, j],
        "rows": rows,
        "variables": d,
    }
    for name, numbers_of_pairs in numbers.items():
        values[:, PAIR_FEATURES.index(name)] = numbers_of_pairs


def _order_by_content(correlation: Float64[ndarray, "d d"]) -> Int[ndarray, "d"]:
    """The variables sorted by their sorted absolute correlations, whatever the order and signs of the columns."""
    strength = np.sort(np.round(np.abs(correlation), DECIMALS), axis=1)
    return np.lexsort(strength.T)
