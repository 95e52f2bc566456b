"""`CanonicalOrder`: variables ordered by hashes of their columns, so that the order of the input does not matter."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from intaglio.causal.graphs import meek
from intaglio.causal.graphs.graph import Graph
from intaglio.causal.graphs.knowledge import Constraints, Knowledge
from intaglio.causal.methods.sicl.decoding.orient import TripleLogits
from intaglio.causal.methods.sicl.networks.inference import ColliderLogits

MAX_LOGIT = 1e4
"""Largest absolute logit; larger ones are clipped, so that sums stay finite."""


@dataclass(frozen=True, eq=False)
class CanonicalOrder:
    """The variables of a table sorted by key and then by name, with background knowledge in that order."""

    names: tuple[str, ...]
    """Names in the order of the table."""
    order: Int[ndarray, "d"]
    """[k]: index of the table's column that comes k-th in this order."""
    constraints: Constraints
    """Background knowledge, in this order."""

    @classmethod
    def of(cls, names: Sequence[str], keys: Sequence[bytes], knowledge: Knowledge) -> "CanonicalOrder":
        """The order by `keys` (hashes of the columns' contents), and by name where two contents are equal.

        Raises:
            BadInput: no DAG over these names agrees with the knowledge.
            ValueError: keys and names differ in number.
        """
        if len(keys) != len(names):
            raise ValueError(f"{len(names)} names have {len(keys)} keys; give one key a name")
        order = sorted(range(len(names)), key=lambda k: (keys[k], names[k]))
        return cls(tuple(names), np.array(order, np.intp), knowledge.constraints([names[k] for k in order]))

    def ordered(self, matrix: Float[ndarray, "_ _"]) -> Float[ndarray, "d d"]:
        """A matrix of logits in this order, with a diagonal of -inf; `ValueError` for another shape or NaN."""
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
        """As `ordered`, made exactly symmetric; `ValueError` where the matrix is not symmetric up to rounding."""
        found = self.ordered(matrix)
        if not np.allclose(found, found.T, rtol=1e-4, atol=1e-4):
            raise ValueError("logits of adjacency are not symmetric; give one number a pair")
        return (found + found.T) / 2

    def triple_logits(self, colliders: ColliderLogits, triples: Int[ndarray, "t 3"]) -> TripleLogits:
        """The logits of triples in this order, from one call of `colliders`, or none where there are no triples."""
        values = np.zeros(0)
        if len(triples):
            values = np.clip(np.asarray(colliders(self.order[triples]), np.float64), -MAX_LOGIT, MAX_LOGIT)
        if values.shape != (len(triples),) or np.isnan(values).any():
            raise ValueError(f"{len(triples)} triples need as many logits that are numbers")
        return TripleLogits(len(self.names), triples, values)

    def graphs(self, dag: Bool[ndarray, "d d"]) -> tuple[Graph, Graph]:
        """The CPDAG of a DAG, or MPDAG where knowledge orients more, and the DAG itself, both in the table's order.

        The DAG must agree with the knowledge.
        """
        directed, undirected = meek.cpdag_of(dag)
        known = self.constraints.oriented(dag | dag.T) & undirected
        if known.any():
            directed, undirected = meek.closure(directed | known, undirected & ~known & ~known.T, knowledge=True)
        back = np.argsort(self.order)
        cells = np.ix_(back, back)
        kind = "MPDAG" if known.any() else "CPDAG"
        graph = Graph.from_adjacency(kind, (directed | undirected)[cells], self.names)
        return graph, Graph.from_adjacency("DAG", dag[cells], self.names)


def log_odds(name: str, probability: float) -> float:
    """Log-odds of a probability; `ValueError` with the setting's name where it is not in (0, 1)."""
    if not 0 < probability < 1:
        raise ValueError(f"{name} is a probability above 0 and below 1, not {probability}")
    return log(probability / (1 - probability))
