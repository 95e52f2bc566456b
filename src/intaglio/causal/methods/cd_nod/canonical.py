"""Columns in an order of their own, so that no result depends on how a table orders or names them."""

import hashlib
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from intaglio.causal.graphs.knowledge import Constraints, Knowledge
from intaglio.causal.independence.variables import IndependenceTest, Pair, Variables
from intaglio.causal.methods.cd_nod.context import Context
from intaglio.causal.tables.table import Table
from intaglio.errors import BadInput


@dataclass(frozen=True, eq=False)
class CanonicalTable:
    """The variables of a table in canonical order, with the context last."""

    names: tuple[str, ...]
    """Variables in canonical order, without the context."""
    context: str
    """The name of the context; empty for the order of the rows."""
    variables: Variables
    """The columns in this order; the context is missing from them where it is constant."""
    constant_context: bool

    @property
    def names_with_context(self) -> tuple[str, ...]:
        """All names, the context last."""
        return (*self.names, self.context)

    def levels_of(self, name: str) -> int:
        """Number of levels of a column; 0 for numbers, 1 for a constant context."""
        index = self.names_with_context.index(name)
        return self.variables.levels[index] if index < len(self.variables.levels) else 1


def ordered(table: Table, context: Context, *, width: float) -> CanonicalTable:
    """The columns of a table without missing cells, ordered by their ranks, not by place, name or unit.

    `width` is that of the kernel of a time, in its standard deviations.
    """
    order = sorted(range(len(table.names)), key=lambda k: (_rank_hash(table, k), k))
    levels = [0 if table.kinds[k] in ("continuous", "ordinal") else len(table.levels[k]) for k in order]
    columns, widths = [table.values[:, k] for k in order], [None for _ in order]
    names = tuple(table.names[k] for k in order)
    if not context.constant:
        columns, levels = [*columns, context.values], [*levels, len(context.labels)]
        widths = [*widths, None if context.labels else width]
    variables = Variables(np.stack(columns, 1), tuple(levels), tuple(widths))
    return CanonicalTable(names, context.name, variables, context.constant)


def constraints(knowledge: Knowledge, table: CanonicalTable) -> Constraints:
    """Knowledge of the variables and the context, which nothing causes, in canonical order.

    A variable in a tier before the context's does not change with it; of a constant context nothing can be known.

    Raises:
        BadInput: it says that something causes the context.
    """
    context = table.context
    for cause, effect in knowledge.required:
        if effect == context:
            raise BadInput(f"{cause} → {effect} is required, and nothing causes the context; take it back")
    known = knowledge.restricted_to(table.names if table.constant_context else table.names_with_context)
    causes = tuple((name, context) for name in table.names)
    return replace(known, forbidden=(*known.forbidden, *causes)).constraints(table.names_with_context)


class NothingChanges:
    """A test for a constant context: no variable depends on it; other questions go to the test itself."""

    def __init__(self, test: IndependenceTest, context: int):
        self._test, self._context = test, context

    def p_values(self, pairs: list[Pair], given: tuple[int, ...]) -> Float[ndarray, "k"]:
        """See `IndependenceTest.p_values`."""
        found = np.ones(len(pairs))
        asked = [k for k, pair in enumerate(pairs) if self._context not in pair]
        if asked:
            found[asked] = self._test.p_values([pairs[k] for k in asked], given)
        return found


def _rank_hash(table: Table, k: int) -> bytes:
    """A hash of a column's kind and ranks, the same in any unit."""
    ranks = np.unique(table.values[:, k], return_inverse=True)[1]
    return hashlib.sha256(table.kinds[k].encode() + ranks.astype("<i8").tobytes()).digest()
