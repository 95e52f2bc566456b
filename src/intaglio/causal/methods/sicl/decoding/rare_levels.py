"""Rare levels: tables of rarer cases than any in training, and bounds on the logits of their pairs by exact counts.

Given a rare level the network's partial correlations are far more variable than it takes them to be: where a rare cause
makes both columns of a pair likely, nearly all of their variance lies in few rows. In tables beyond what training had
of this, a Bayesian model of the counts bounds how sure an edge can be.
"""

from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy import stats

from intaglio.causal.methods.sicl.networks.encoding import CONTINUOUS
from intaglio.causal.scores.count_evidence import log_bayes_factor

RAREST_SHARE = 0.025
"""Probability of all levels but the most frequent one below which a column is rare; training had none below."""
RARE_LEVEL = 0.05
"""Level of the test that the probability is below `RAREST_SHARE`, so that few rows alone make no column rare."""
UNCOMMON_SHARE = 0.1
"""Share of rows outside the most frequent level below which a column's pairs are bounded in such a table."""
FEW_CASES = 5.0
"""Expected rows in which two independent columns both leave their most frequent level, below which they are bounded."""
LARGEST_INFLATION = 3.0
"""Variance of a pair's covariance, given a third column, over that of equal variances; hardly any pair had more."""
UNEVEN_INFLATION = 1.5
"""The same, from which a pair is bounded in such a table."""

Pair = tuple[int, int]


def bounded_logits(
    logits: Float[ndarray, "d d"], values: Float[ndarray, "n d"], kinds: Int[ndarray, "d"]
) -> Float[ndarray, "d d"]:
    """Logits of adjacency; those of pairs of levels with few cases are bounded in tables rarer than those of training.

    The bound is the log-odds of a prior of 1/d plus the least log Bayes factor of dependence, alone or given one other
    column with levels, where that is above 0: a pair without evidence has its prior. Lower logits stay, and so do those
    of other pairs and other tables.

    Args:
        logits: calibrated logits; symmetric for a skeleton.
        values: numbers and codes of levels, NaN where missing.
        kinds: kinds of the columns, as codes of `encoding`.
    """
    counts = _Counts.of(values, kinds)
    if not counts.beyond_training:
        return logits
    found, prior = logits.copy(), -np.log(max(1, len(kinds) - 1))
    for i, j in counts.pairs:
        if counts.few((i, j)):
            most = prior + max(0.0, counts.least_evidence((i, j)))
            found[i, j], found[j, i] = min(logits[i, j], most), min(logits[j, i], most)
    return found


@dataclass(frozen=True, eq=False)
class _Counts:
    """The columns with levels of a table."""

    codes: dict[int, Int[ndarray, "n"]]
    """Codes by the column's index; -1 is missing."""
    cases: dict[int, int]
    """Rows outside the most frequent level."""
    known: dict[int, int]
    """Rows that are not missing."""
    cached: dict[tuple[int, ...], float] = field(default_factory=dict)

    @classmethod
    def of(cls, values: Float[ndarray, "n d"], kinds: Int[ndarray, "d"]) -> "_Counts":
        levels = np.flatnonzero(kinds != CONTINUOUS).tolist()
        codes = {k: np.nan_to_num(values[:, k], nan=-1).astype(np.int64) for k in levels}
        sizes = {k: np.bincount(column[column >= 0]) for k, column in codes.items()}
        cases = {k: int(size.sum() - size.max(initial=0)) for k, size in sizes.items()}
        return cls(codes, cases, {k: int(size.sum()) for k, size in sizes.items()})

    @property
    def pairs(self) -> list[Pair]:
        return list(combinations(self.codes, 2))

    def share(self, column: int) -> float:
        return self.cases[column] / max(1, self.known[column])

    @property
    def beyond_training(self) -> bool:
        """Whether a column is rare, or a pair's variances given an uncommon column are more uneven than in training."""
        if len(self.codes) < 2:
            return False
        if any(stats.binom.cdf(self.cases[k], self.known[k], RAREST_SHARE) < RARE_LEVEL for k in self.codes):
            return True
        uncommon = [k for k in self.codes if self.share(k) < UNCOMMON_SHARE]
        return any(
            self.inflation(pair, k) > LARGEST_INFLATION
            for k in uncommon
            for pair in self.pairs
            if k in self.separators(pair)
        )

    def few(self, pair: Pair) -> bool:
        """Whether counts are to bound the pair: an uncommon column, few joint cases, or uneven variances."""
        i, j = pair
        if min(self.share(i), self.share(j)) < UNCOMMON_SHARE:
            return True
        if min(self.known[i], self.known[j]) * self.share(i) * self.share(j) < FEW_CASES:
            return True
        return any(self.inflation(pair, k) > UNEVEN_INFLATION for k in self.separators(pair))

    def least_evidence(self, pair: Pair) -> float:
        """The least evidence of dependence, alone or given one column."""
        return min([self.evidence(*pair), *(self.evidence(*pair, k) for k in self.separators(pair))])

    def separators(self, pair: Pair) -> list[int]:
        """Columns that may separate the pair: those that both depend on."""
        i, j = pair
        others = (k for k in self.codes if k not in pair)
        return [k for k in others if self.evidence(*sorted((i, k))) > 0 and self.evidence(*sorted((j, k))) > 0]

    def evidence(self, first: int, second: int, *given: int) -> float:
        key = (first, second, *given)
        if key not in self.cached:
            one, two, strata = self._known(first, second, *given)
            self.cached[key] = log_bayes_factor(one, two, strata)
        return self.cached[key]

    def inflation(self, pair: Pair, given: int) -> float:
        """n·Σ e_i² e_j² / (Σ e_i² · Σ e_j²) of the residuals of leaving the most frequent level, given a column."""
        one, two, strata = self._known(*pair, given)
        rows = np.maximum(np.bincount(strata), 1)
        p, q = np.bincount(strata, one > 0) / rows, np.bincount(strata, two > 0) / rows
        weight, p, q = rows / rows.sum(), p * (1 - p), q * (1 - q)
        return float((weight * p * q).sum() / max((weight * p).sum() * (weight * q).sum(), 1e-12))

    def _known(self, first: int, second: int, *given: int) -> tuple[ndarray, ndarray, ndarray]:
        kept = np.logical_and.reduce([self.codes[k] >= 0 for k in (first, second, *given)])
        strata = self.codes[given[0]] if given else np.zeros(len(kept), np.int64)
        return self.codes[first][kept], self.codes[second][kept], strata[kept]
