"""`TableEvidence`: what a table says of its columns, given the rows that count: logits of a network, and BIC."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from intaglio.causal.methods.sicl.networks.encoding import BINARY, CONTINUOUS, NOMINAL, ORDINAL
from intaglio.causal.methods.sicl.networks.inference import Logits, canonical_table, logits_of, mean_logits, row_order
from intaglio.causal.methods.sicl.networks.weights import TrainedNetwork
from intaglio.causal.scores.bic import GaussianBIC, LocalScore, score_of
from intaglio.causal.tables.assumptions import ExaminedTable
from intaglio.causal.tables.gap_filling import filled_tables
from intaglio.causal.tables.table import Table

KIND_CODES = {"continuous": CONTINUOUS, "ordinal": ORDINAL, "binary": BINARY, "nominal": NOMINAL}
MAX_SCORED_ROWS = 10_000
"""Most rows that are scored, in tables with levels, where each score is a pass over the rows."""
DRAWS = 4
"""Tables with filled gaps, whose logits are averaged."""
DRAW_SEED = 0
"""Seed of the draws; they depend on the table alone."""
LEAST_ROWS = 3.0
"""Least number of rows that count for a pair, however much they depend on each other."""


def kind_codes(table: Table) -> Int[ndarray, "d"]:
    """The kinds of the columns, as codes of `encoding`."""
    return np.array([KIND_CODES[kind] for kind in table.kinds])


def column_keys(table: Table) -> tuple[bytes, ...]:
    """A hash of each column's ranks, which breaks ties; units, signs and the order of rows do not change it."""
    kinds = kind_codes(table)
    ranks = [np.unique(column, return_inverse=True)[1] for column in canonical_table(table.values, kinds).T]
    return tuple(
        hashlib.sha256(bytes([int(kind)]) + rank.astype("<i8").tobytes()).digest()
        for kind, rank in zip(kinds, ranks, strict=True)
    )


@dataclass(frozen=True, eq=False)
class TableEvidence:
    """The rows of a table that count, in one table or several draws of its missing cells."""

    values: tuple[Float[ndarray, "n d"], ...]
    """The table, or draws of it; NaN where missing."""
    kinds: Int[ndarray, "d"]
    """Kinds of the columns, as codes of `encoding`."""
    levels: tuple[int, ...]
    """Number of levels of each column; 0 for numbers."""
    share: Float[ndarray, "d d"] | None
    """Share in (0, 1] of the rows of each pair that count; None for all."""

    @property
    def rows(self) -> float:
        """Number of rows that count, the mean over the pairs."""
        n, d = self.values[0].shape
        if self.share is None or d < 2:
            return float(n)
        return max(2.0, n * float(self.share[np.triu_indices(d, 1)].mean()))

    def logits(self, trained: TrainedNetwork) -> Logits:
        """The mean logits of the draws."""
        many = len(self.values)
        share = None if self.share is None else np.repeat(self.share[None], many, 0)
        kinds = np.repeat(self.kinds[None], many, 0)
        return mean_logits(logits_of(trained.network, np.stack(self.values), kinds, trained.context, share, many))

    def score(self) -> LocalScore:
        """BIC with the rows that count."""
        values = self.values[0]
        if self.share is not None and not any(self.levels):
            each = [GaussianBIC.of(one) for one in self.values]
            rows = each[0].rows * self.rows / len(values)
            return GaussianBIC(np.mean([one.covariance for one in each], axis=0), max(2.0, rows))
        most = MAX_SCORED_ROWS if self.share is None else min(MAX_SCORED_ROWS, round(self.rows))
        if len(values) > most and any(self.levels):
            values = values[row_order(values, self.kinds)[:most]]
        return score_of(values, self.levels)


def evidence_of(examined: ExaminedTable, keys: Sequence[bytes]) -> TableEvidence:
    """The evidence of a table: dependent rows count less, and gaps that were chosen are filled.

    Args:
        examined: the table, with what of it counts.
        keys: a hash of each column's content, which orders the columns while gaps are filled.
    """
    table, share = examined.table, None
    kinds, values = kind_codes(table), (table.values,)
    if examined.variance_ratios is not None:
        share = np.maximum(1 / examined.variance_ratios, min(1.0, LEAST_ROWS / len(table)))
    if examined.chosen_gaps:
        values = _filled(examined, keys)
        known = _rows_in_common(table.values) / _rows_in_common(values[0])
        known = np.clip(known, min(1.0, LEAST_ROWS / len(table)), 1.0)
        share = known if share is None else share * known
    return TableEvidence(values, kinds, tuple(len(one) for one in table.levels), share)


def _filled(examined: ExaminedTable, keys: Sequence[bytes]) -> tuple[Float[ndarray, "n d"], ...]:
    """Draws of the table, which depend neither on the order of its rows nor on that of its columns."""
    table = examined.table
    order = np.array(sorted(range(len(keys)), key=lambda k: (keys[k], table.names[k])), np.intp)
    place = np.argsort(order)
    canonical = canonical_table(table.values, kind_codes(table))[:, order]
    chosen = sorted(int(place[k]) for k in examined.chosen_gaps)
    drawn = filled_tables(canonical, [table.kinds[k] for k in order], chosen, draws=DRAWS, seed=DRAW_SEED)
    return tuple(one[:, place] for one in drawn)


def _rows_in_common(values: Float[ndarray, "n d"]) -> Float[ndarray, "d d"]:
    known = (~np.isnan(values)).astype(np.float64)
    return np.maximum(1.0, known.T @ known)
