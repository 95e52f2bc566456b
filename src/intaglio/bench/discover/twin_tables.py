"""`TwinTables`: a table that breaks an assumption of causal discovery, its sound twin, and the graph of both."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from intaglio.causal.graphs.graph import Graph
from intaglio.causal.tables.column import ColumnKind

LEAST_ROWS = 10
"""Least rows of either table without its gaps; a search of fewer is refused."""
LEAST_CASES = 2
"""Least rows with each level of a column that holds levels."""


@dataclass(frozen=True, eq=False)
class TwinTables:
    """Two tables from the same graph and mechanisms; one breaks an assumption, the other does not."""

    graph: Graph
    """The true DAG over the columns of both, in their order."""
    broken: Float[ndarray, "n d"]
    """Numbers as measured, counts, or codes of levels from 0; NaN where missing."""
    sound: Float[ndarray, "m d"]
    """The same columns without the break."""
    kinds: Mapping[str, ColumnKind] = field(default_factory=dict)
    """Kinds of the columns that hold levels, by name."""
    discrete: bool = False
    """Whether all columns hold levels."""

    @classmethod
    def of(
        cls,
        made: Bool[ndarray, "d d"],
        broken: Float[ndarray, "n d"],
        sound: Float[ndarray, "m d"],
        kinds: Mapping[str, ColumnKind] | None = None,
        *,
        discrete: bool = False,
    ) -> "TwinTables":
        """Twin tables of a DAG [d, d], [i, j] for i → j, whose columns are named x0, x1, …"""
        return cls(Graph.from_adjacency("DAG", made, column_names(len(made))), broken, sound, kinds or {}, discrete)

    @property
    def usable(self) -> bool:
        """Whether both tables have rows enough, and columns that vary and differ from each other."""
        return all(self._searchable(values) for values in (self.broken, self.sound))

    def _searchable(self, values: Float[ndarray, "n d"]) -> bool:
        whole = values[~np.isnan(values).any(1)]
        if len(whole) < LEAST_ROWS or len(np.unique(whole, axis=1).T) < whole.shape[1]:
            return False
        with_levels = [k for k, name in enumerate(self.graph.names) if self.discrete or name in self.kinds]
        least = [int(np.unique(whole[:, k], return_counts=True)[1].min()) for k in with_levels]
        return bool((whole.min(0) < whole.max(0)).all()) and min(least, default=LEAST_CASES) >= LEAST_CASES

    def reordered(self, order: Int[ndarray, "d"]) -> "TwinTables":
        """The same with the columns in another order, under the names that the places have: the first is x0."""
        names = self.graph.names
        renamed = {names[k]: new for k, new in zip(order, names, strict=True)}
        made = self.graph.directed[np.ix_(order, order)]
        return replace(
            self,
            graph=Graph.from_adjacency("DAG", made, names),
            broken=self.broken[:, order],
            sound=self.sound[:, order],
            kinds={renamed[name]: kind for name, kind in self.kinds.items()},
        )


def column_names(variables: int) -> tuple[str, ...]:
    """Names x0, x1, … of that many columns."""
    return tuple(f"x{k}" for k in range(variables))
