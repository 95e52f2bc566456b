"""The findings of a search by name, and as a `Discovery`."""

from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Bool
from numpy import ndarray

from intaglio.causal.graphs.graph import Graph
from intaglio.causal.methods.cd_nod.canonical import CanonicalTable
from intaglio.causal.methods.cd_nod.context import Context
from intaglio.causal.methods.cd_nod.driving_forces import principal_components
from intaglio.causal.methods.cd_nod.independent_changes import SinkDecision
from intaglio.causal.methods.cd_nod.modules import Modules
from intaglio.causal.methods.cd_nod.orientation import PartialDag
from intaglio.causal.methods.cd_nod.skeleton import Skeleton
from intaglio.causal.results.changes import Changes, DrivingForce, EdgeReason, EdgeRule, PairTest, SinkChoice
from intaglio.causal.results.discovery import BACKWARD, FORWARD, REVERSIBLE, Discovery
from intaglio.causal.tables.table import Table

DECIDED = "Decided by tests: 1 where the graph has the edge or the mark and 0 where it has not, so no probabilities."
"""What the numbers of the `Discovery` are."""


@dataclass(frozen=True, eq=False)
class FoundChanges:
    """A search's findings over the variables in canonical order."""

    table: CanonicalTable
    skeleton: Skeleton
    graph: PartialDag
    choices: tuple[SinkDecision, ...]
    tests: int
    """Number of independence tests."""
    late: bool
    """Whether the time limit was met before the last phase ended."""

    @property
    def changing(self) -> tuple[int, ...]:
        """Neighbours of the context."""
        return tuple(np.flatnonzero(self.graph.directed[-1]).tolist())

    def warnings(self, time_limit: float | None) -> tuple[str, ...]:
        """Sentences about an unfinished search."""
        if not self.late:
            return ()
        level, what = self.skeleton.unfinished, "independent changes were not looked at to the end"
        if level is not None:
            sets = "without conditioning" if not level else f"given {level} variable{'' if level == 1 else 's'}"
            what = f"edges may be left that tests {sets} and more would remove, and {what}"
        return (f"the time limit of {time_limit:g} s ended the search: {what}; give it more time",)

    def forces(self, modules: Modules, context: Context) -> tuple[DrivingForce, ...]:
        """The curves of each changing mechanism, given the parents that the graph is sure of."""
        at, names, found = _points(modules, context), self.table.names, []
        for k in self.changing:
            causes = tuple(np.flatnonzero(self.graph.directed[:-1, k]).tolist())
            curves, shares = principal_components(modules.module(k, causes))
            if len(curves):
                components = tuple(tuple(curve) for curve in curves.tolist())
                given = tuple(names[j] for j in causes)
                found.append(DrivingForce(names[k], given, at, components, tuple(shares.tolist())))
        return tuple(found)


def _points(modules: Modules, context: Context) -> tuple[float, ...] | tuple[str, ...]:
    """The points of the context as times, or as names of domains."""
    values = modules.variables.values[modules.points, -1]
    if context.labels:
        return tuple(context.labels[int(code)] for code in values)
    # The variables are standardised: back to the context's own unit.
    return tuple((values * context.values.std() + context.values.mean()).tolist())


def discovery_of(
    found: FoundChanges,
    forces: tuple[DrivingForce, ...],
    table: Table,
    context: Context,
    *,
    method: str,
    alpha: float,
    test: str,
) -> Discovery:
    """The `Discovery` over all columns of a table but the context; columns that were left out have no edges."""
    indices = [table.all_names.index(name) for name in found.table.names]
    where = np.ix_(indices, indices)
    directed, undirected = (np.zeros((len(table.all_names),) * 2, dtype=bool) for _ in range(2))
    directed[where], undirected[where] = found.graph.directed[:-1, :-1], found.graph.undirected[:-1, :-1]
    graph = Graph.from_adjacency("MPDAG", directed | undirected, table.all_names)
    triples = _unshielded_triples(graph.skeleton)
    marks = np.zeros((*directed.shape, 3))
    marks[..., FORWARD], marks[..., BACKWARD] = directed, directed.T
    marks[..., REVERSIBLE] = ~(directed | directed.T)
    names = found.table.names
    return Discovery(
        method=method,
        graph=graph,
        adjacent=graph.skeleton.astype(np.float64),
        marks=marks,
        triples=triples,
        colliders=(directed[triples[:, 1], triples[:, 0]] & directed[triples[:, 2], triples[:, 0]]).astype(np.float64),
        conflicts=found.graph.conflicts,
        fallback=found.graph.fallback,
        ood_score=float("nan"),
        duplicates=table.duplicates,
        isolated=table.isolated,
        rows=len(context.values),
        reading=DECIDED,
        changes=Changes(
            context=context.name,
            kind=context.kind,
            test=test,
            alpha=alpha,
            changing=tuple(name for name in table.all_names if name in {names[k] for k in found.changing}),
            tests=found.tests,
            pairs=_pairs(found, table),
            reasons=_reasons(found, graph),
            choices=tuple(_choice(choice, names) for choice in found.choices),
            forces=tuple(sorted(forces, key=lambda force: table.all_names.index(force.variable))),
            unfinished=found.late,
        ),
    )


def _pairs(found: FoundChanges, table: Table) -> tuple[PairTest, ...]:
    """Every pair in the order of the table, those with the context last."""
    names = found.table.names_with_context
    order = [names.index(name) for name in table.all_names if name in found.table.names] + [len(names) - 1]
    rows = []
    for place, x in enumerate(order):
        for y in order[place + 1 :]:
            p, key = found.skeleton.p[x, y], (min(x, y), max(x, y))
            given = found.skeleton.separating.get(key)
            adjacent = bool(found.graph.directed[x, y] | found.graph.directed[y, x] | found.graph.undirected[x, y])
            rows.append(
                PairTest(
                    names[x],
                    names[y],
                    adjacent,
                    None if np.isnan(p) else float(p),
                    None if given is None or adjacent else tuple(names[k] for k in given),
                )
            )
    return tuple(sorted(rows, key=lambda row: row.second == found.table.context))


def _reasons(found: FoundChanges, graph: Graph) -> tuple[EdgeReason, ...]:
    """The rule of each arrow of the graph, in the order of its edges."""
    names = found.table.names
    by_name: dict[tuple[str, str], EdgeRule] = {
        (names[i], names[j]): rule for (i, j), rule in found.graph.reasons.items() if i < len(names) > j
    }
    wanted = ((edge.first, edge.second) for edge in graph.edges)
    return tuple(EdgeReason(*pair, by_name[pair]) for pair in wanted if pair in by_name)


def _choice(decision: SinkDecision, names: tuple[str, ...]) -> SinkChoice:
    plain = asdict(decision)
    plain |= {"sink": names[decision.sink], "tails": tuple(names[k] for k in decision.tails)}
    return SinkChoice(**plain)


def _unshielded_triples(pairs: Bool[ndarray, "d d"]) -> ndarray:
    """Unshielded triples (centre, leg, leg) [t, 3], the first leg before the second."""
    found = [
        (centre, i, j)
        for centre in range(len(pairs))
        for i in np.flatnonzero(pairs[centre])
        for j in np.flatnonzero(pairs[centre])
        if i < j and not pairs[i, j]
    ]
    return np.array(found, np.int64).reshape(-1, 3)
