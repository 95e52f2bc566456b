"""`Context`: the regimes or times of the rows, split from a table and checked."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Literal

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from intaglio.causal.results.changes import ContextKind
from intaglio.causal.tables.column import merged_level
from intaglio.causal.tables.normal_scores import mean_ranks
from intaglio.causal.tables.table import Table
from intaglio.causal.tables.text_columns import DATE
from intaglio.errors import BadInput

ROWS_A_DOMAIN = 20
"""Least rows of a domain on average."""
LARGEST_OVER_SMALLEST = 10
"""Ratio of domain sizes from which a warning is given."""
SAME_ORDER = 1 - 1e-9
"""Rank correlation from which a column is a function of the time."""


WRITTEN_TIMES = "write times as numbers or as dates such as 2020-01-31"
"""The remedy for texts that stand for times."""


@dataclass(frozen=True, eq=False)
class Context:
    """The context of the rows of a table."""

    name: str
    """Its column; empty for the order of the rows."""
    kind: ContextKind
    values: Float64[ndarray, "n"]
    """Times as given, or codes of domains in the order of their first rows."""
    labels: tuple[str, ...] = ()
    """Names of the domains; empty for times."""
    warnings: tuple[str, ...] = ()

    @property
    def constant(self) -> bool:
        """Whether it has one value, and so nothing can change with it."""
        return bool(np.ptp(self.values) == 0)


def split(table: Table, name: str, kind: Literal["auto", "time", "domain"]) -> tuple[Table, Context]:
    """The table without its context, and the context; without a name the order of the rows is the time.

    Raises:
        BadInput: no column has the name, or the column has missing cells, is the same as another, was read with rarer
            levels merged, says words where times are asked for, has as many domains as rows, or more than one for
            twenty rows.
    """
    if not name:
        if kind == "domain":
            raise BadInput("domains need a column that names them; give it as the context (--context)")
        return table, Context("", "time", np.arange(len(table), dtype=np.float64))
    _check_name(table, name)
    rest = _without(table, name)
    if name in table.isolated:
        note = f"the context {name!r} has one value: nothing can change with it, and the search is plain PC"
        return rest, Context(name, "domain", np.zeros(len(table)), (name,), (note,))
    k = table.names.index(name)
    values, column_kind = table.values[:, k], table.kinds[k]
    if np.isnan(values).any():
        row = int(np.argmax(np.isnan(values))) + 1
        raise BadInput(f"the context {name!r} is missing in row {row}; fill it in, or leave such rows out")
    chosen: ContextKind = kind if kind != "auto" else "time" if column_kind == "continuous" else "domain"
    if chosen == "time":
        if column_kind in ("nominal", "binary"):
            raise BadInput(
                f"the context {name!r} holds levels without an order, such as {table.levels[k][0]!r}, and no times; "
                f"{WRITTEN_TIMES}, or take it for a domain (--context-kind)"
            )
        return rest, _times(rest, name, values, given=kind != "auto")
    if merged := merged_level(table.levels[k]):
        raise BadInput(
            f"the context {name!r} was read as any column, with its rarer levels merged into {merged!r}; read the "
            "table with it as the context (--context)"
        )
    return rest, _domains(rest, name, values, table.levels[k])


def _check_name(table: Table, name: str) -> None:
    if name not in table.all_names:
        near = get_close_matches(name, table.all_names, 3, 0.5)
        there = f"near are {', '.join(map(repr, near))}" if near else f"there are {', '.join(table.all_names[:10])}"
        raise BadInput(f"the context {name!r} is no column; {there}")
    if group := next((group for group in table.duplicates if name in group), None):
        other = next(one for one in group if one != name)
        raise BadInput(
            f"column {other!r} is the same as the context {name!r}, and a variable must not be a function of it; "
            f"leave {other!r} out (--without)"
        )
    if not set(table.names) - {name}:
        raise BadInput(f"the table has no column that varies beside the context {name!r}; give one variable or more")


def _without(table: Table, name: str) -> Table:
    """The table without one column."""
    kept = [k for k, one in enumerate(table.names) if one != name]
    return replace(
        table,
        names=tuple(table.names[k] for k in kept),
        kinds=tuple(table.kinds[k] for k in kept),
        values=table.values[:, kept],
        levels=tuple(table.levels[k] for k in kept),
        isolated=tuple(one for one in table.isolated if one != name),
        all_names=tuple(one for one in table.all_names if one != name),
        warnings=tuple(one for one in table.warnings if f"{name!r}" not in one),
    )


def _times(rest: Table, name: str, values: Float64[ndarray, "n"], *, given: bool) -> Context:
    ranks = mean_ranks(values)
    for column, other, kind in zip(rest.values.T, rest.names, rest.kinds, strict=True):
        if kind != "continuous" or np.isnan(column).any():
            continue
        if abs(np.corrcoef(mean_ranks(column), ranks)[0, 1]) >= SAME_ORDER:
            raise BadInput(_function_of(other, name))
    distinct = len(np.unique(values))
    notes = []
    if not given and distinct <= len(values) // ROWS_A_DOMAIN and (values == np.floor(values)).all():
        notes.append(
            f"the context {name!r} holds {distinct} whole numbers and is taken as time; where they name domains, say "
            "so (--context-kind)"
        )
    return Context(name, "time", values, (), tuple(notes))


def _domains(rest: Table, name: str, values: Float64[ndarray, "n"], levels: tuple[str, ...]) -> Context:
    distinct, firsts, codes, sizes = np.unique(values, return_index=True, return_inverse=True, return_counts=True)
    count, rows = len(distinct), len(values)
    as_time = WRITTEN_TIMES if levels else "take it for a time (--context-kind)"
    if count == rows:
        raise BadInput(f"the context {name!r} has another value in every row, so it names no domains; {as_time}")
    if count > rows // ROWS_A_DOMAIN:
        raise BadInput(
            f"the context {name!r} has {count} domains in {rows} rows, and {ROWS_A_DOMAIN} rows a domain are needed; "
            f"merge domains, or, where the values have an order, {as_time}"
        )
    # Codes by first rows, so that names of domains do not matter.
    rank = np.argsort(np.argsort(firsts))
    codes = rank[codes.ravel()]
    for k, other in enumerate(rest.names):
        if _constant_within(rest.values[:, k], codes, count):
            raise BadInput(_function_of(other, name))
    texts = [levels[int(value)] if levels else f"{value:g}" for value in distinct]
    labels = tuple(texts[k] for k in np.argsort(firsts))
    notes = []
    if sizes.max() >= LARGEST_OVER_SMALLEST * sizes.min():
        small = texts[int(sizes.argmin())]
        notes.append(
            f"domains of {name!r} have {sizes.min()} to {sizes.max()} rows: a change may come from {small!r} alone, "
            "the smallest; search without it as well"
        )
    if all(DATE.fullmatch(text) for text in labels):
        notes.append(
            f"the context {name!r} holds dates, such as {labels[0]!r}, and is taken for domains without an order; for "
            f"a time {WRITTEN_TIMES}"
        )
    return Context(name, "domain", codes.astype(np.float64), labels, tuple(notes))


def _constant_within(column: Float64[ndarray, "n"], codes: ndarray, count: int) -> bool:
    known = ~np.isnan(column)
    low, high = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(low, codes[known], column[known])
    np.maximum.at(high, codes[known], column[known])
    return bool((high <= low).all())


def _function_of(other: str, name: str) -> str:
    return (
        f"column {other!r} is a function of the context {name!r}, and a variable must not be one; leave it out "
        "(--without), or make it the context"
    )


def complete_rows(table: Table, context: Context) -> tuple[Table, Context, tuple[str, ...]]:
    """Both without rows that have a missing cell, and a warning where there are any.

    Raises:
        BadInput: no row is left, or a column or all but one domain ends with them.
    """
    kept: ndarray = np.asarray(~np.isnan(table.values).any(1))
    if kept.all():
        return table, context, ()
    fewer = replace(table, values=table.values[kept])
    if not kept.any() or (np.ptp(fewer.values, 0) == 0).any():
        raise BadInput("too few rows have no missing cell; fill cells in, or leave columns with many gaps out")
    note = f"{int((~kept).sum())} of {len(kept)} rows have a missing cell and are not used"
    left = replace(context, values=context.values[kept])
    if context.kind == "domain" and not context.constant:
        _check_domains_left(left, context)
    return fewer, left, (note,)


def _check_domains_left(left: Context, context: Context) -> None:
    gone: Collection[float] = set(context.values) - set(left.values)
    if gone:
        names = ", ".join(repr(context.labels[int(code)]) for code in sorted(gone))
        raise BadInput(f"domain {names} of {context.name!r} has no row without a missing cell; fill some in")
