"""Assumptions of causal discovery that a table itself contradicts: independent rows, gaps at random, no common factor.

Each check is a test of known level on the table alone, before any search; tests hold the rates of false alarms.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from intaglio.causal.tables.common_factor import common_factor
from intaglio.causal.tables.gap_dependence import GapDependence, gap_dependences
from intaglio.causal.tables.repeated_rows import RepeatedRows, repeated_rows
from intaglio.causal.tables.row_dependence import RowDependence, row_dependence
from intaglio.causal.tables.row_trend import RowTrend, row_trend
from intaglio.causal.tables.table import Table

SHOWN_COLUMNS = 5
"""Columns that a sentence names."""
DEPENDENT_ROWS, REPEATED_ROWS = "rows depend on those before", "rows are repeated"
TREND = "the order of rows explains columns"
"""Reasons that methods know of."""


@dataclass(frozen=True)
class BrokenAssumption:
    """An assumption that a table contradicts."""

    reason: str
    """In a few words, without the columns."""
    warning: str
    """A sentence with the columns, the cause and the remedy."""
    advice: str = ""
    """Advice that only a method without hidden causes gives, as the end of the warning; empty for none."""
    remedy: str = ""
    """The measure that an answer from the examined table takes against it, in a few words; empty for none."""


@dataclass(frozen=True, eq=False)
class ExaminedTable:
    """A table with each row once, the assumptions that it contradicts, and what of it counts."""

    table: Table
    """The table without rows that repeat others, where `repeated_rows` finds such, and without trends of its columns
    of numbers, where `row_trend` finds such; else as given."""
    broken: tuple[BrokenAssumption, ...] = ()
    """Assumptions that the table contradicts; none for independent rows of one law without hidden causes."""
    variance_ratios: Float[ndarray, "d d"] | None = None
    """Variance of the correlation of each pair over that of independent rows; None where rows are independent."""
    chosen_gaps: tuple[int, ...] = ()
    """Columns that are missing depending on other columns, whose known cells are a selection."""
    common_factor: bool = False
    """Whether one factor runs through many columns."""
    rows_given: int = 0
    """Rows of the table as given; 0 for as many as there are."""
    trends: tuple[int, ...] = ()
    """Columns whose trends over the rows were taken out."""

    @property
    def rows_that_count(self) -> int:
        """Rows of the table, or their effective number where they depend on each other; the mean over pairs."""
        n, ratios = len(self.table.values), self.variance_ratios
        if ratios is None or len(ratios) < 2:
            return n
        return round(n / float(ratios[np.triu_indices(len(ratios), 1)].mean()))

    def part(self, rows: Int[ndarray, "m"]) -> "ExaminedTable":
        """Some random rows: dependent ones are farther apart, so that more of them count."""
        values, ratios = self.table.values[rows], self.variance_ratios
        if ratios is not None:
            ratios = 1 + (ratios - 1) * len(rows) / max(1, len(self.table))
        given = round(self.rows_given * len(rows) / max(1, len(self.table)))
        return replace(self, table=replace(self.table, values=values), variance_ratios=ratios, rows_given=given)


def examine(table: Table) -> ExaminedTable:
    """The table as examined; later checks see no row twice."""
    again = repeated_rows(table.values, table.kinds)
    repeated = tuple(_repeated_rows(table, again))
    once = table if again is None else replace(table, values=table.values[again.kept])
    if (trend := row_trend(once.values, once.kinds)) is not None:
        once = _without_trend(once, trend)
    dependence = row_dependence(once.values, once.kinds, None if trend is None else trend.blocks)
    gaps, factor = gap_dependences(once.values, once.kinds), tuple(_common_factor(once))
    told = (*_trend(once, trend), *_dependent_rows(once, dependence), *repeated)
    broken = (*told, *_dependent_gaps(once, gaps), *factor)
    ratios = None if dependence is None else dependence.variance_ratios
    chosen = tuple(sorted({k for gap in gaps for k in gap.missing}))
    trends = () if trend is None else trend.taken_out
    return ExaminedTable(once, broken, ratios, chosen, bool(factor), len(table), trends)


def broken_assumptions(table: Table) -> tuple[BrokenAssumption, ...]:
    """The assumptions that a table contradicts; none for independent rows of one law without hidden causes."""
    return examine(table).broken


def _without_trend(table: Table, found: RowTrend) -> Table:
    kinds, levels = list(table.kinds), list(table.levels)
    for k in found.taken_out:
        kinds[k], levels[k] = "continuous", ()
    return replace(table, values=found.values, kinds=tuple(kinds), levels=tuple(levels))


def _trend(table: Table, found: RowTrend | None) -> Iterator[BrokenAssumption]:
    if found is None:
        return
    shown = [f"{share:.0%} of {table.names[k]!r}" for k, share in zip(found.columns, found.shares, strict=True)]
    taken = f"{len(found.taken_out)} {'columns' if len(found.taken_out) > 1 else 'column'}"
    yield BrokenAssumption(
        TREND,
        f"the order of rows explains {some(shown)} as a smooth trend, a common cause that no column holds, and edges "
        "among these columns may be no more than that; put the time in as a column of numbers (kind continuous where "
        "it numbers the rows), or give what a model of it leaves of each column",
        remedy=f"the answer takes the trend out of {taken}" if found.taken_out else "",
    )


def _dependent_rows(table: Table, found: RowDependence | None) -> Iterator[BrokenAssumption]:
    if found is None:
        return
    shown = [f"{table.names[k]!r} {r:.2f}" for k, r in zip(found.columns, found.correlations, strict=True)]
    apart = "the row before" if found.lag == 1 else f"the one {found.lag} rows before"
    yield BrokenAssumption(
        DEPENDENT_ROWS,
        f"rows depend on those before them: in the table's order {some(shown)} correlate with {apart}, so that "
        f"{found.rows:,} rows count for about {found.effective_rows:,}, and edges among these columns may be no more "
        "than that; give rows that are far apart, or what a model of time or of groups leaves of each column",
        remedy="the answer counts them as so many",
    )


def _repeated_rows(table: Table, found: RepeatedRows | None) -> Iterator[BrokenAssumption]:
    if found is None:
        return
    but = f" but {' and '.join(repr(table.names[k]) for k in found.fresh)}" if found.fresh else ""
    every = "column of fine numbers and of levels" if found.up_to == "a small noise" else "column"
    digits = f", up to {found.up_to}" if found.up_to else ""
    yield BrokenAssumption(
        REPEATED_ROWS,
        f"{found.rows - found.distinct:,} of {found.rows:,} rows repeat another one in every {every}{but}{digits}, so "
        f"that about {found.distinct:,} count, and edges seem surer than they are; give each row once",
        remedy="the answer counts each once",
    )


def _dependent_gaps(table: Table, found: Sequence[GapDependence]) -> Iterator[BrokenAssumption]:
    where = {True: ", mostly where that is high", False: ", mostly where that is low", None: ""}
    told = [
        f"{some([repr(table.names[k]) for k in gap.missing])} on {table.names[gap.on]!r}{where[gap.higher]}"
        for gap in found
    ]
    if told:
        yield BrokenAssumption(
            "cells are missing depending on other columns",
            f"whether a cell is missing depends on another column ({some(told, '; ')}): edges among these columns "
            "cannot be trusted, since the rows that are left were chosen by it; fill the gaps by a model of why they "
            "are there, or leave the columns out (--without)",
            remedy="the answer fills them by draws from regressions on the other columns",
        )


def _common_factor(table: Table) -> Iterator[BrokenAssumption]:
    if (found := common_factor(table.values, table.kinds)) is None:
        return
    names = [repr(table.names[k]) for k in found.columns]
    what = "the values of" if found.of == "values" else "the spread of"
    sign = ", all with one sign" if found.one_sign and found.of == "values" else ""
    yield BrokenAssumption(
        "one factor runs through many columns",
        f"one factor runs through {what} {len(names)} of {len(table.names)} columns ({some(names)}; median loading "
        f"{found.loading:.2f}{sign}), and no column accounts for it: a hidden common cause, such as a batch, a scale "
        "or a depth, makes edges among them that are no causes; put it in as a column, or divide it out",
        ", or consider a method for hidden causes (`--latent`)",
    )


def some(words: Sequence[str], between: str = ", ") -> str:
    """The first words, and how many more there are."""
    more = f"{between}and {len(words) - SHOWN_COLUMNS} more" if len(words) > SHOWN_COLUMNS else ""
    return between.join(words[:SHOWN_COLUMNS]) + more
