"""Influences held against retrained models: rank correlation over subsets, its ceiling, and datamodels.

Influences tau [q, n] are predicted rises of a query's loss when a member is removed; `kept` [r, n] says of each model
on which members it was trained.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import rankdata
from sklearn.linear_model import LassoCV

from intaglio.bench.influence.retrained import RetrainedLosses

FOLDS, PENALTIES = 5, 30
FIRST = 4
"""Members, a tenth of all, that `rises` is about."""


Models = tuple[Bool[np.ndarray, "r n"], Float[np.ndarray, "r q"]]
"""On which members each model was trained, and the losses of the queries under it."""


@dataclass(frozen=True, eq=False)
class Split:
    """The half subsets of the first seed in two parts: `even` to choose on, `odd` to measure on."""

    even: Models
    odd: Models

    @classmethod
    def of(cls, truth: RetrainedLosses, columns: Sequence[int]) -> "Split":
        """By the number of each subset."""
        first = truth.of("half") & (truth.seeds == 0)
        parts = [first & (truth.places % 2 == parity) for parity in (0, 1)]
        return cls(*((truth.kept[part], truth.losses[part][:, list(columns)]) for part in parts))

    def at(self, queries: Sequence[int]) -> "Split":
        """Some of the queries alone."""
        return Split(*((kept, losses[:, list(queries)]) for kept, losses in (self.even, self.odd)))


def rank_correlations(a: Float[np.ndarray, "r q"], b: Float[np.ndarray, "r q"]) -> Float[np.ndarray, "q"]:
    """Spearman's correlation of each column of two tables; 0 for a column of equal numbers."""
    return correlations(rankdata(a, axis=0), rankdata(b, axis=0))


def correlations(a: Float[np.ndarray, "r q"], b: Float[np.ndarray, "r q"]) -> Float[np.ndarray, "q"]:
    """Correlation of each column of two tables; 0 for a column of equal numbers."""
    one, two = a - a.mean(0), b - b.mean(0)
    size = np.sqrt((one**2).sum(0) * (two**2).sum(0))
    return np.divide((one * two).sum(0), size, out=np.zeros_like(size), where=size > 0)


def lds(
    tau: Float[np.ndarray, "q n"], kept: Bool[np.ndarray, "r n"], losses: Float[np.ndarray, "r q"]
) -> Float[np.ndarray, "q"]:
    """Linear datamodelling score of each query: the rank correlation over models of the summed influences of the
    removed members with the loss (arXiv 2303.14186).
    """
    return rank_correlations((~kept).astype(float) @ tau.T, losses)


def reliability(truth: RetrainedLosses, columns: Sequence[int]) -> Float[np.ndarray, "q"] | None:
    """Rank correlation of the losses of one seed with those of the next, over subsets trained by both, three or more.

    No predictor of a single seed's losses can be expected to correlate with them by more than the square root of it.
    None for fewer subsets.
    """
    half = truth.of("half")
    by_seed = [{int(truth.places[r]): r for r in np.flatnonzero(half & (truth.seeds == seed))} for seed in (0, 1)]
    both = sorted(by_seed[0].keys() & by_seed[1].keys())
    if len(both) < 3:
        return None
    one, two = (truth.losses[[rows[place] for place in both]][:, list(columns)] for rows in by_seed)
    return rank_correlations(one, two)


def removals(truth: RetrainedLosses, columns: Sequence[int]) -> Float[np.ndarray, "q n"] | None:
    """Exact influences: the mean loss without each member less the mean with all; None where some are not known."""
    without, full = truth.of("without"), truth.losses[truth.of("full")][:, list(columns)]
    rows = [truth.losses[without & (truth.places == member)][:, list(columns)] for member in range(truth.kept.shape[1])]
    if not len(full) or not all(map(len, rows)):
        return None
    return np.stack([some.mean(0) for some in rows], axis=1) - full.mean(0)[:, None]


def datamodels(kept: Bool[np.ndarray, "r n"], losses: Float[np.ndarray, "r q"]) -> Float[np.ndarray, "q n"]:
    """Influences by regression: minus the coefficients of a lasso of each query's losses on who was kept.

    The penalty is chosen over five folds of the models. Source: Ilyas et al., arXiv 2202.00622.
    """
    present, rows = kept - kept.mean(0), []
    for column in losses.T:
        rest = (column - column.mean()) / (column.std() or 1.0)
        largest = float(np.abs(present.T @ rest).max()) / len(rest) or 1.0  # with this penalty all coefficients are 0
        alphas: Any = largest * np.logspace(0, -3, PENALTIES)
        fitted = LassoCV(cv=FOLDS, alphas=alphas, max_iter=5000).fit(present, rest)
        rows.append(-column.std() * fitted.coef_)
    return np.stack(rows)


def rises(
    tau: Float[np.ndarray, "q n"], kept: Bool[np.ndarray, "r n"], losses: Float[np.ndarray, "r q"]
) -> Float[np.ndarray, "q"]:
    """The rise of a query's loss without its first `FIRST` members, in standard deviations over the models.

    Models that lack all of them but one at most, less models that lack one at most; NaN where there are none of either.
    """
    found = []
    for row, column in zip(tau, losses.T, strict=True):
        lacking = (~kept[:, np.argsort(-row)[:FIRST]]).sum(1)
        without, having = column[lacking >= FIRST - 1], column[lacking <= 1]
        spread = column.std()
        comparable = len(without) > 0 and len(having) > 0 and spread > 0
        found.append((without.mean() - having.mean()) / spread if comparable else np.nan)
    return np.array(found)
