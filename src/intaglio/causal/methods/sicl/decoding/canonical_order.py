"""`CanonicalOrder`: variables in an order that their contents decide, so that no result depends on the order of columns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from intaglio.causal.graphs import meek
from intaglio.causal.graphs.graph import Graph
from intaglio.causal.graphs.knowledge import Constraints, Knowledge
from intaglio.causal.methods.sicl.decoding.orient import TripleLogits

ColliderLogits = Callable[[Int[ndarray, "t 3"]], Float[ndarray, "t"]]
"""Calibrated logits that triples (centre, leg, leg) are colliders; the order of the legs does not matter."""

MAX_LOGIT = 1e4
"""Logits beyond this are taken as this, so that sums stay finite; the probabilities are 0 and 1 long before."""


@dataclass(frozen=True, eq=False)
class CanonicalOrder:
    """Where each variable of a table stands once they are sorted by key and then by name."""

    names: tuple[str, ...]
    """In the table's order."""
    order: Int[ndarray, "d"]
    """[k]: the table's column that comes k-th here."""
    constraints: Constraints
    """What is known, in the order of this frame."""

    @classmethod
    def of(cls, names: Sequence[str], keys: Sequence[bytes], knowledge: Knowledge) -> "CanonicalOrder":
        """Sorted by a hash of each column's content, and by name where two contents are the same.

        Raises:
            BadInput: knowledge that no DAG over these names agrees with.
            ValueError: not one key a name.
        """
        if len(keys) != len(names):
            raise ValueError(f"{len(names)} names have {len(keys)} keys; give one key a name")
        order = sorted(range(len(names)), key=lambda k: (keys[k], names[k]))
        return cls(tuple(names), np.array(order, np.intp), knowledge.constraints([names[k] for k in order]))

    def ordered(self, matrix: Float[ndarray, "_ _"]) -> Float[ndarray, "d d"]:
        """A matrix of logits in this frame, -inf on its diagonal; `ValueError` for another shape or NaN."""
        d = len(self.names)
        if matrix.shape != (d, d):
            raise ValueError(f"{d} names need logits of shape {(d, d)}, not {matrix.shape}")
        found = matrix.astype(np.float64)[np.ix_(self.order, self.order)]
        np.fill_diagonal(found, -np.inf)
        if np.isnan(found).any():
            i, j = self.order[np.argwhere(np.isnan(found))[0]]
            raise ValueError(f"the logit of {self.names[i]} and {self.names[j]} is not a number")
        return found

    def symmetric(self, matrix: Float[ndarray, "_ _"]) -> Float[ndarray, "d d"]:
        """The same for logits of unordered pairs, exactly symmetric; `ValueError` where they differ beyond rounding."""
        found = self.ordered(matrix)
        if not np.allclose(found, found.T, rtol=1e-4, atol=1e-4):
            raise ValueError("logits of adjacency are not symmetric; give one number a pair")
        return (found + found.T) / 2

    def triple_logits(self, colliders: ColliderLogits, triples: Int[ndarray, "t 3"]) -> TripleLogits:
        """Asks for the logits of triples of this frame, at once; nothing is asked where there are none."""
        values = np.zeros(0)
        if len(triples):
            values = np.clip(np.asarray(colliders(self.order[triples]), np.float64), -MAX_LOGIT, MAX_LOGIT)
        if values.shape != (len(triples),) or np.isnan(values).any():
            raise ValueError(f"{len(triples)} triples need as many logits that are numbers")
        return TripleLogits(len(self.names), triples, values)

    def graphs(self, dag: Bool[ndarray, "d d"]) -> tuple[Graph, Graph]:
        """The class of a DAG of this frame with what is known, a CPDAG or MPDAG; the DAG; both over the table's order.

        A DAG that the knowledge allows is asked for.
        """
        directed, undirected = meek.cpdag_of(dag)
        told = self.constraints.oriented(dag | dag.T) & undirected
        if told.any():
            directed, undirected = meek.closure(directed | told, undirected & ~told & ~told.T, knowledge=True)
        back = np.argsort(self.order)
        cells = np.ix_(back, back)
        kind = "MPDAG" if told.any() else "CPDAG"
        graph = Graph.from_adjacency(kind, (directed | undirected)[cells], self.names)
        return graph, Graph.from_adjacency("DAG", dag[cells], self.names)


def log_odds(name: str, probability: float) -> float:
    """Log-odds of a threshold; `ValueError` where it is not within 0 and 1."""
    if not 0 < probability < 1:
        raise ValueError(f"{name} is a probability above 0 and below 1, not {probability}")
    return log(probability / (1 - probability))
