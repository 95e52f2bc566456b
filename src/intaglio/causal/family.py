"""`Discoverer`: the contract of causal discovery methods, from a table to a `Discovery`."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

from intaglio.causal.graphs.knowledge import Knowledge
from intaglio.causal.results.discovery import Discovery
from intaglio.causal.tables.table import Kinds, Table
from intaglio.runs.run import Run
from intaglio.runs.time_plan import TimePlan
from intaglio.verbs import FileName

NO_KNOWLEDGE = Knowledge()


@dataclass(frozen=True, kw_only=True)
class Discoverer(ABC):
    """Finds the Markov equivalence class of the causal graph behind a table, without cycles.

    A method is a frozen dataclass of settings with this one call; it leaves the table as it found it.
    """

    name = FileName()
    """The method's name on the command line: that of its file, with dashes."""
    role: ClassVar[Literal["method", "baseline"]] = "method"
    """Whether it is offered as a method, or as a baseline to compare with."""
    gives: ClassVar[Literal["CPDAG", "PAG"]] = "CPDAG"
    """The class of graphs: a CPDAG, where no hidden common causes are assumed, or a PAG, which allows for them."""

    @abstractmethod
    def __call__(
        self,
        table: Table | Any,
        *,
        kinds: Kinds | None = None,
        knowledge: Knowledge = NO_KNOWLEDGE,
        run: Run = Run.none(),
    ) -> Discovery:
        """Searches one table.

        Args:
            table: a `Table`, a pandas DataFrame or an array [n, d] of n independent, identically distributed rows.
            kinds: kinds of columns by name, where the kind that a column seems to have is wrong; not with a `Table`.
            knowledge: background knowledge of the graph; a CPDAG then becomes an MPDAG, and a PAG has further marks.
            run: takes progress and checkpoints, so that a killed search resumes.

        Raises:
            BadInput: a table that cannot be searched, with the column's name, or knowledge that contradicts itself.
        """

    @abstractmethod
    def planned(self, table: Table, *, knowledge: Knowledge = NO_KNOWLEDGE) -> TimePlan:
        """Seconds of a search of this table, from pieces of it that are done and timed here.

        Raises `BadInput` as the search does.
        """

    def plans_quickly(self, table: Table) -> bool:
        """Whether a plan takes little of a search's time, or under a second; else it is made with --dry-run alone.

        Here it is not: what is timed is a large part of one search.
        """
        return False

    def variables(self, table: Table) -> tuple[str, ...]:
        """Columns of a table that the found graph is over, in its order: all but those that only describe the rows."""
        return table.all_names

    def weights(self) -> dict[str, dict[str, str]]:
        """Files of learned weights, as inputs of a run: `path` and `sha256` by role; empty where there are none."""
        return {}

    def undivided(self) -> str:
        """Reason that a search has no independent pieces for a cluster to do; empty where it has some."""
        return "each of its tests follows from those before"

    def forget(self, run: Run) -> None:  # noqa: B027 - a method without states forgets nothing
        """Drops the checkpoints that a search stored in a run; to be called once its result is saved."""


def as_table(table: Table | Any, kinds: Kinds | None = None, context: str = "") -> Table:
    """The table itself, or one made from a DataFrame or an array; `context` as in `Table.from_frame`.

    Raises:
        ValueError: kinds for a `Table`, whose columns have theirs already.
    """
    if not isinstance(table, Table):
        return Table.from_frame(table, kinds=kinds, context=context)
    if kinds:
        raise ValueError("kinds belong to Table.from_frame or Table.load; this table's columns have theirs already")
    return table


def unusable_knowledge(knowledge: Knowledge, table: Table) -> tuple[str, ...]:
    """A warning for each column that knowledge names and that was left out of the search."""
    mentioned = {name for field in fields(knowledge) for entry in getattr(knowledge, field.name) for name in entry}
    missing = sorted(mentioned & (set(table.all_names) - set(table.names)))
    return tuple(f"what is known of {name!r} cannot be used: the column takes no part" for name in missing)
