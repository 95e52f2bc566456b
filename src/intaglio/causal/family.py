"""What every way of finding a causal graph in a table is called with and gives back."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from intaglio.causal.graphs.knowledge import Knowledge
from intaglio.causal.results.discovery import Discovery
from intaglio.causal.tables.table import Kinds, Table
from intaglio.runs.run import Run
from intaglio.verbs import FileName

NOTHING_KNOWN = Knowledge()


@dataclass(frozen=True, kw_only=True)
class Discoverer(ABC):
    """Finds the class of causal graphs that a table speaks for, assuming no cycles and no hidden common causes.

    A method is a frozen dataclass of settings with this one call; it leaves the table as it found it.
    """

    name = FileName()
    """Its name in the table of methods."""

    @abstractmethod
    def __call__(
        self,
        table: Table | Any,
        *,
        kinds: Kinds | None = None,
        knowledge: Knowledge = NOTHING_KNOWN,
        run: Run = Run.none(),
    ) -> Discovery:
        """Search one table.

        Args:
            table: a `Table`, a pandas DataFrame or an array [n, d]; rows are independent draws of one law.
            kinds: of columns that should not be taken as they look; only where `table` is no `Table` yet.
            knowledge: what is known of the graph beforehand; the result then is an MPDAG.
            run: progress and states go there, so that a killed search goes on.

        Raises:
            BadInput: a table that cannot be searched, with the column's name, or knowledge that contradicts itself.
        """

    def weights(self) -> dict[str, dict[str, str]]:
        """What the method has learned, as inputs of a run: `path` and `sha256` by role; a method may have none."""
        return {}

    def forget(self, run: Run) -> None:  # noqa: B027 - a method without states forgets nothing
        """Drops the states that a search stored in a run; to be called once its result is safe."""


def as_table(table: Table | Any, kinds: Kinds | None = None) -> Table:
    """The table itself, or one made from a DataFrame or an array.

    Raises:
        ValueError: kinds for a `Table`, whose columns have theirs already.
    """
    if not isinstance(table, Table):
        return Table.from_frame(table, kinds=kinds)
    if kinds:
        raise ValueError("kinds belong to Table.from_frame or Table.load; this table's columns have theirs already")
    return table
