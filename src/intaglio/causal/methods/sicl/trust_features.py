"""Features of a table and of its pairs of columns, which tell how far the logits of a network can be trusted there.

They do not depend on the order of rows and columns, on units or on signs, and are magnitudes that compare to what
independent rows of a Markov law give: |z| = √m |ρ| with the m rows that count.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from intaglio.causal.methods.sicl.evidence import TableEvidence
from intaglio.causal.methods.sicl.networks.encoding import CONTINUOUS, NOMINAL
from intaglio.causal.methods.sicl.networks.inference import row_order
from intaglio.causal.methods.sicl.networks.logit_scaling import probability
from intaglio.causal.scores.count_evidence import log_bayes_factor
from intaglio.causal.tables.assumptions import ExaminedTable
from intaglio.causal.tables.common_factor import robust_loadings
from intaglio.causal.tables.normal_scores import normal_scores

FACTORS = 4
"""Common factors that are taken out of the correlations, one after the other."""
MOST_ROWS = 5_000
"""Rows, the first in an order by content, that features of cells are computed from."""
MOST_LEVELS = 6
"""Most levels of two columns whose counts are compared."""
LARGE_Z, FITTING_Z = 5.0, 2.0
"""|z| that residuals are cut at before their squares are averaged, and below which one fits."""
DIRECTED_MAPS = 2
"""Last maps of `pair_statistics` that differ between (i, j) and (j, i)."""

TABLE_GROUPS = {
    "few rows count for so many columns": 2,
    "the network's graph is unusually dense, or unsure": 5,
    "kinds and tails of the columns are unusual": 9,
    "dependences are unusually strong or weak": 18,
    "common factors explain many dependences": 18,
    "common factors run through the spread of the columns": 18,
    "rows or known cells are no random draw": 5,
}
"""Groups of features of a table, in words where they speak against an answer, and their sizes, in order."""
TAKEN_OUT = -TABLE_GROUPS["rows or known cells are no random draw"]
"""Place of what was taken out of the table as given: the logarithm of the share of rows that repeat no other, less the
share of columns with a trend. One number for both keeps recalibrations readable that were fitted before trends were."""

Pairs = Float[ndarray, "d d f"]


@dataclass(frozen=True, eq=False)
class TrustFeatures:
    """The features of a table of d columns and of its p = d (d - 1) / 2 pairs; NaN where there is none."""

    pairs: Float[ndarray, "p f"]
    """Features of each pair, in the order of `numpy.triu_indices`, followed by those of the table in `aided`."""
    table: Float[ndarray, "t"]

    @property
    def aided(self) -> Float[ndarray, "t"]:
        """Those of the table as the answer takes it, from which repeated rows and trends are taken out."""
        return as_examined(self.table)


def as_examined(table: Float[ndarray, "*m t"]) -> Float[ndarray, "*m t"]:
    """Features of tables, as if each had been given without repeated rows and trends."""
    found = table.copy()
    found[..., TAKEN_OUT] = 0.0
    return found


def trust_features(
    examined: ExaminedTable,
    evidence: TableEvidence,
    skeleton: Float[ndarray, "d d"],
    statistics: Float[ndarray, "d d s"],
) -> TrustFeatures:
    """The features of a table of two columns or more.

    Args:
        examined: the table, with what of it counts.
        evidence: its evidence.
        skeleton: calibrated logits of adjacency, symmetric.
        statistics: the statistics of pairs that the network was given; see `pair_statistics`.
    """
    upper = np.triu_indices(len(skeleton), 1)
    values = evidence.values[0]
    if len(values) > MOST_ROWS:
        values = values[row_order(values, evidence.kinds)[:MOST_ROWS]]
    share = 1.0 if evidence.share is None else evidence.share
    root = np.sqrt(np.maximum(2.0, _rows_in_common(values) * share * len(evidence.values[0]) / len(values)))
    scores = _scores(values, evidence.kinds)
    spread = np.where(evidence.kinds == CONTINUOUS, np.abs(scores), np.nan)
    of_values, of_spread = (_Factors.of(_correlation(each), root) for each in (scores, spread))
    p = probability(skeleton)
    np.fill_diagonal(p, 0.0)
    larger = np.maximum(statistics, statistics.transpose(1, 0, 2))
    smaller = np.minimum(statistics, statistics.transpose(1, 0, 2))[..., -DIRECTED_MAPS:]
    own = np.concatenate(
        [
            skeleton[..., None],
            larger,
            smaller,
            of_values.pairs,
            of_spread.pairs,
            _neighbours(skeleton, p),
            _columns(values, evidence),
            _counts(values, evidence),
        ],
        -1,
    )[upper]
    table = np.array(
        [
            *_answer(p[upper], p.sum(0), evidence),
            *_cells(values, evidence),
            *np.median(larger[upper], 0),
            *of_values.table,
            *of_spread.table,
            *_remedies(examined, evidence),
        ]
    )
    return TrustFeatures(np.concatenate([own, np.tile(as_examined(table), (len(own), 1))], 1), table)


@dataclass(frozen=True, eq=False)
class _Factors:
    """Correlations, and what is left of them beyond one to `FACTORS` common factors."""

    pairs: Pairs
    """|z| of each, and of the partial correlation given all other columns that the last one has."""
    table: tuple[float, ...]
    """Of each: mean of z² and share that fits; median loading and eigenvalue of each factor."""

    @classmethod
    def of(cls, correlation: Float[ndarray, "d d"], root: Float[ndarray, "d d"]) -> "_Factors":
        off, d = ~np.eye(len(correlation), dtype=bool), len(correlation)
        left, sizes = correlation.copy(), np.linalg.eigvalsh(correlation)[::-1] / d
        found, table = [np.abs(left) * root], [*sizes[:FACTORS], *[0.0] * (FACTORS - d)]
        for _ in range(FACTORS):
            loading = robust_loadings(np.where(off, left, 1.0), root**2)
            left = left - np.outer(loading, loading)
            found.append(np.abs(left) * root)
            table.append(float(np.median(np.abs(loading))))
        for one in found:
            table += [float((np.minimum(one[off], LARGE_Z) ** 2).mean()), float((one[off] < FITTING_Z).mean())]
        return cls(np.stack([*found, np.abs(_partial(left)) * root], -1), tuple(table))


def _partial(covariance: Float[ndarray, "d d"]) -> Float[ndarray, "d d"]:
    """Partial correlations given all other columns; the matrix is made positive definite before."""
    sizes, vectors = np.linalg.eigh(covariance)
    precision = (vectors / np.maximum(sizes, 0.05)) @ vectors.T
    scale = np.sqrt(np.diagonal(precision))
    return precision / np.outer(scale, scale)


def _scores(values: Float[ndarray, "n d"], kinds: Int[ndarray, "d"]) -> Float[ndarray, "n d"]:
    """Normal scores; of nominal columns whether they have their most frequent level; NaN where missing."""
    columns = [
        np.where(np.isnan(column), np.nan, column == 0) if kind == NOMINAL else normal_scores(column)
        for column, kind in zip(values.T, kinds, strict=True)
    ]
    return np.stack(columns, 1)


def _correlation(scores: Float[ndarray, "n d"]) -> Float[ndarray, "d d"]:
    """Correlations over the rows that have both; 0 where a column is not known or constant."""
    known = ~np.isnan(scores)
    filled, counts = np.where(known, scores, 0.0), np.maximum(known.sum(0), 1)
    centred = np.where(known, filled - filled.sum(0) / counts, 0.0)
    spread = np.sqrt((centred**2).sum(0) / counts)
    standard = centred / np.where(spread > 1e-9, spread, np.inf)
    found = np.clip(standard.T @ standard / _rows_in_common(scores), -0.9999, 0.9999)
    np.fill_diagonal(found, 1.0)
    return found


def _rows_in_common(values: Float[ndarray, "n d"]) -> Float[ndarray, "d d"]:
    known = (~np.isnan(values)).astype(np.float64)
    return np.maximum(1.0, known.T @ known)


def _both(numbers: Float[ndarray, "d"]) -> Pairs:
    """The smaller and the larger of two columns' numbers."""
    return np.stack([np.minimum(numbers[:, None], numbers), np.maximum(numbers[:, None], numbers)], -1)


def _neighbours(skeleton: Float[ndarray, "d d"], p: Float[ndarray, "d d"]) -> Pairs:
    """Expected degrees and largest logits of both columns; expected and best common neighbours."""
    largest = np.where(np.eye(len(p), dtype=bool), -np.inf, skeleton).max(0)
    between = np.minimum(p[:, None, :], p[None, :, :])  # p[k, k] is 0, so that the pair itself does not count
    return np.concatenate([_both(p.sum(0)), _both(largest), between.sum(-1)[..., None], between.max(-1)[..., None]], -1)


def _columns(values: Float[ndarray, "n d"], evidence: TableEvidence) -> Pairs:
    """Cells at an end of the range, outside the most frequent level, missing; kinds."""
    rare = []
    for column, levels in zip(values.T, evidence.levels, strict=True):
        known = column[~np.isnan(column)].astype(np.int64) if levels else np.zeros(0, np.int64)
        rare.append(1 - np.bincount(known).max() / len(known) if len(known) else np.nan)
    return np.concatenate(
        [
            _both(_share_at_an_end(values)),
            _both(np.array(rare)),
            _both(np.minimum(np.array(evidence.levels, np.float64), MOST_LEVELS)),
            _both(np.isnan(values).mean(0)),
        ],
        -1,
    )


def _share_at_an_end(values: Float[ndarray, "n d"]) -> Float[ndarray, "d"]:
    """The larger share of known cells that hold the least or the largest number, such as zeros of counts."""
    known = np.maximum(1, (~np.isnan(values)).sum(0))
    low, high = np.fmin.reduce(values, 0), np.fmax.reduce(values, 0)
    return np.maximum((values == low).sum(0), (values == high).sum(0)) / known


def _counts(values: Float[ndarray, "n d"], evidence: TableEvidence) -> Pairs:
    """Log Bayes factor of the dependence of two columns of few levels, and their expected joint rare rows; else NaN."""
    d = values.shape[1]
    found = np.full((d, d, 2), np.nan)
    few = [k for k in range(d) if 0 < evidence.levels[k] <= MOST_LEVELS]
    codes = {k: np.nan_to_num(values[:, k], nan=-1).astype(np.int64) for k in few}
    for a, i in enumerate(few):
        for j in few[a + 1 :]:
            kept = (codes[i] >= 0) & (codes[j] >= 0)
            one, two = codes[i][kept], codes[j][kept]
            joint = float((one > 0).mean() * (two > 0).sum()) if len(one) else 0.0
            found[i, j] = found[j, i] = log_bayes_factor(one, two, np.zeros_like(one)), joint
    return found


def _answer(p: Float[ndarray, "p"], degrees: Float[ndarray, "d"], evidence: TableEvidence) -> list[float]:
    """The size of the table, and how dense and how sure the network's answer is."""
    sure, unsure = float((p > 0.9).mean()), float(((p > 0.1) & (p < 0.9)).mean())
    sizes = [float(np.log10(evidence.rows)), float(np.log10(len(degrees)))]
    return [*sizes, float(p.mean()), sure, unsure, float(degrees.max()), float(np.median(degrees))]


def _cells(values: Float[ndarray, "n d"], evidence: TableEvidence) -> list[float]:
    """Kinds of the columns, tails of the numbers, different numbers, cells at an end of the range, missing cells."""
    levels = np.array(evidence.levels)
    numbers = [column[~np.isnan(column)] for column in values[:, levels == 0].T]
    standard = [np.clip((x - x.mean()) / x.std(), -8, 8) for x in numbers if x.size and x.std() > 0]
    fourth = [float((x**4).mean()) for x in standard] or [np.nan]
    third = [abs(float((x**3).mean())) for x in standard] or [np.nan]
    different = [len(np.unique(x)) / len(x) for x in numbers if x.size] or [np.nan]
    ends = _share_at_an_end(values)
    return [
        *(float(np.mean(levels == 0)), float(np.mean(levels == 2))),
        *(float(np.median(fourth)), max(fourth), float(np.median(third)), float(np.median(different))),
        *(float(ends.mean()), float(ends.max()), float(np.isnan(values).mean())),
    ]


def _remedies(examined: ExaminedTable, evidence: TableEvidence) -> list[float]:
    """Remedies and findings: rows and trends taken out, rows that count, columns with filled gaps, a common factor."""
    given = examined.rows_given or len(examined.table)
    return [
        float(np.log(len(examined.table) / given)) - len(examined.trends) / len(examined.table.names),
        float(np.log(evidence.rows / len(examined.table))),
        float(examined.variance_ratios is not None),
        len(examined.chosen_gaps) / len(examined.table.names),
        float(examined.common_factor),
    ]
