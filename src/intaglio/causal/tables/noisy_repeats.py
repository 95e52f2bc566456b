"""Rows that repeat others but for a small noise: their nearest rows are far nearer than the next ones.

Among n rows of a smooth law of dimension k the distances r_m to the m-th nearest row have P(r_m / r_(m+1) < t) = t^(mk)
(as in the estimate of a dimension by E. Facco and others, 2017), so that gaps are rare even where all columns are
functions of one: for t = 1/4 a row has one at some m with probability 0.31. Copies make one for most rows.
"""

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from intaglio.causal.tables.column import ColumnKind
from intaglio.causal.tables.normal_scores import normal_scores
from intaglio.causal.tables.row_content import content_hash

GAP = 0.25
"""Distance over the next larger one from which on a row's nearest rows are set apart."""
MIN_SHARE = 0.5
"""Least share of the rows that have such a gap."""
MOST_COPIES = 16
"""Most rows that repeat one another and are still found."""
FAR = (MOST_COPIES, 2 * MOST_COPIES)
"""Places of the nearest rows whose distances tell the dimension, beyond copies; the second is twice the first, and as
many nearest rows are looked for."""
MIN_DIMENSION = 3.0
"""Least dimension, below which the rows of a deterministic law come near each other by themselves."""
MIN_COLUMNS, MIN_ROWS, MOST_ROWS = 4, 100, 20_000
"""Fewest columns of numbers and rows that tell, and most rows whose distances are computed."""
FINE_SHARE = 0.4
"""Least share of different numbers in a column whose distances count; copies that were rounded have fewer."""
DIFFERING_SHARE = 0.05
"""Share of the groups in which a column of levels may differ, as by an error of typing."""
TESTED_ROWS = 400
"""Rows, evenly spaced, that are tested before all distances are computed."""
PIECE = 256
"""Rows whose distances to all are computed at once."""


def noisy_repeats(values: Float[ndarray, "n d"], kinds: tuple[ColumnKind, ...]) -> Bool[ndarray, "n"] | None:
    """One row of each group that repeat one another but for noise, the first by content; None where there is none.

    Args:
        values: numbers and codes of levels, NaN where missing; columns of numbers without gaps are compared.
        kinds: kinds of the columns.
    """
    n = len(values)
    whole = [values[:, k] for k, kind in enumerate(kinds) if kind == "continuous" and not np.isnan(values[:, k]).any()]
    fine = [normal_scores(column) for column in whole if len(np.unique(column)) >= FINE_SHARE * n]
    if len(fine) < MIN_COLUMNS or not MIN_ROWS <= n <= MOST_ROWS:
        return None
    scores = np.stack(fine, 1)
    near, distances = _nearest(scores, np.arange(0, n, -(-n // TESTED_ROWS)))
    dimension = np.log(2) / max(1e-9, float(np.log(distances[:, FAR[1] - 1] / distances[:, FAR[0] - 1]).mean()))
    if (_copies(distances) > 0).mean() < MIN_SHARE or dimension < MIN_DIMENSION:
        return None
    near, distances = _nearest(scores, np.arange(n))
    group = _groups(near, distances)
    if any(_differs(values[:, k], group) for k, kind in enumerate(kinds) if kind != "continuous"):
        return None  # as before and after a treatment: two measurements, not one written twice
    order = np.lexsort([np.arange(n), content_hash(values), group])
    kept = np.zeros(n, bool)
    kept[order[np.append(True, group[order][1:] != group[order][:-1])]] = True
    return kept


def _differs(levels: Float[ndarray, "n"], group: Int[ndarray, "n"]) -> bool:
    """Whether a column of levels takes several in more than a few of the groups of two rows or more."""
    sizes = np.bincount(group)
    codes = np.unique(levels, return_inverse=True)[1].ravel()
    least, most = np.full(len(sizes), np.iinfo(np.int64).max), np.full(len(sizes), -1)
    np.minimum.at(least, group, codes)
    np.maximum.at(most, group, codes)
    return bool((least < most)[sizes > 1].mean() > DIFFERING_SHARE)


def _nearest(
    scores: Float[ndarray, "n k"], rows: Int[ndarray, "m"]
) -> tuple[Int[ndarray, "m f"], Float[ndarray, "m f"]]:
    """Each row's nearest others, nearest first, and their distances."""
    squares, found = (scores**2).sum(1), []
    for piece in np.split(rows, range(PIECE, len(rows), PIECE)):
        apart = squares[piece, None] + squares - 2 * scores[piece] @ scores.T
        apart[np.arange(len(piece)), piece] = np.inf
        near = np.argpartition(apart, FAR[1], 1)[:, : FAR[1]]
        order = np.argsort(np.take_along_axis(apart, near, 1), 1)
        near = np.take_along_axis(near, order, 1)
        found.append((near, np.sqrt(np.maximum(np.take_along_axis(apart, near, 1), 1e-12))))
    return np.concatenate([near for near, _ in found]), np.concatenate([far for _, far in found])


def _copies(distances: Float[ndarray, "m f"]) -> Int[ndarray, "m"]:
    """Number of nearest rows that the widest gap sets apart; 0 without a gap."""
    ratios = distances[:, : MOST_COPIES - 1] / distances[:, 1:MOST_COPIES]
    return np.where(ratios.min(1) < GAP, ratios.argmin(1) + 1, 0)


def _groups(near: Int[ndarray, "n f"], distances: Float[ndarray, "n f"]) -> Int[ndarray, "n"]:
    """Groups of rows that are linked by distances below the middle of the gaps, on a logarithmic scale."""
    copies = _copies(distances)
    rows = np.flatnonzero(copies)
    inside, outside = (np.median(distances[rows, copies[rows] - one]) for one in (1, 0))
    rows, places = np.nonzero(distances < np.sqrt(inside * outside))
    links = coo_array((np.ones(len(rows)), (rows, near[rows, places])), shape=(len(near), len(near)))
    return connected_components(links, directed=False)[1].astype(np.int64)
