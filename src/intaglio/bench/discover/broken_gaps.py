"""Tables whose gaps depend on another column: cells of causes missing by their effect, and by any other column.

The truth is the graph of the complete table. The sound twin is the same table with the same pattern of gaps, its rows
permuted: as many cells, missing completely at random.
"""

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.stats import rankdata

from intaglio.bench.discover.structural_law import random_graph, random_law, random_noise_law, shaped
from intaglio.bench.discover.twin_tables import TwinTables

MISSING_SHARE = (0.1, 0.5)
"""Range of the share of rows with missing cells."""
SOFT = (0.1, 0.8)
"""Range of the width of a soft threshold, in shares of the rows; half of the tables have a sharp one."""
MOST_COLUMNS = 0.4
"""Largest share of the columns that lack cells, one at least."""
MAX_GRAPHS = 100
"""Attempts to draw a graph with an edge."""


def missing_by_effect(rng: np.random.Generator, variables: int, rows: int) -> TwinTables:
    """Causes, direct or not, whose cells are missing where their effect is high, or low."""
    made = _with_an_edge(rng, variables)
    before = ancestors(made)
    causes = before.sum(0)
    # Colliders are what such gaps hide best: a column of two causes or more is taken where there is one.
    effect = int(rng.choice(np.flatnonzero(causes >= min(2, causes.max()))))
    return _with_gaps(rng, made, rows, effect, np.flatnonzero(before[:, effect]))


def missing_by_other(rng: np.random.Generator, variables: int, rows: int) -> TwinTables:
    """Any columns whose cells are missing where any other column is high, or low."""
    made = _with_an_edge(rng, variables)
    other = int(rng.integers(variables))
    return _with_gaps(rng, made, rows, other, np.delete(np.arange(variables), other))


def ancestors(made: Bool[ndarray, "d d"]) -> Bool[ndarray, "d d"]:
    """[i, j] is a directed path from i to j of one arrow or more, in a DAG in causal order."""
    found = made.copy()
    for j in range(len(made)):
        found[:, j] |= found[:, made[:, j]].any(1)
    return found


def _with_an_edge(rng: np.random.Generator, variables: int) -> Bool[ndarray, "d d"]:
    for _ in range(MAX_GRAPHS):
        made = random_graph(rng, variables)
        if made.any():
            return made
    return np.eye(variables, k=1, dtype=bool)


def _with_gaps(
    rng: np.random.Generator, made: Bool[ndarray, "d d"], rows: int, on: int, candidates: Int[ndarray, "c"]
) -> TwinTables:
    law = random_law(rng, made)
    values = law.table(shaped(rng.standard_normal((rows, len(made))), random_noise_law(rng)))
    most = max(1, min(len(candidates), round(MOST_COLUMNS * len(made))))
    lacking = rng.choice(candidates, int(rng.integers(1, most + 1)), replace=False)
    here = chosen_rows(rng, values[:, on])
    gaps = np.zeros(values.shape, bool)
    gaps[np.ix_(here, lacking)] = True
    broken, sound = (np.where(pattern, np.nan, values) for pattern in (gaps, gaps[rng.permutation(rows)]))
    return TwinTables.of(made, broken, sound, law.kinds)


def chosen_rows(rng: np.random.Generator, by: Float[ndarray, "n"]) -> Bool[ndarray, "n"]:
    """Rows where a column is high or low: beyond a threshold of its rank, sharp or softened by noise."""
    share, soft = rng.uniform(*MISSING_SHARE), rng.uniform(*SOFT) * (rng.random() < 0.5)
    rank = rankdata(by) / len(by) * rng.choice([-1.0, 1.0])
    score = rank + soft * rng.standard_normal(len(by)) + 1e-9 * rng.random(len(by))
    return score > np.quantile(score, 1 - share)
