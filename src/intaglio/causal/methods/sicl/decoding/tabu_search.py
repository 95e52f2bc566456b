"""Tabu search over DAGs that refines a decoded graph by logits of the network and a score of the data."""

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from intaglio.causal.graphs.bitsets import is_reachable, members, pack_rows, unpack_rows
from intaglio.causal.graphs.knowledge import Constraints, Knowledge
from intaglio.causal.methods.sicl.decoding.canonical_order import MAX_LOGIT, CanonicalOrder, log_odds
from intaglio.causal.methods.sicl.decoding.decoder import DecodedGraph
from intaglio.causal.methods.sicl.decoding.orient import TripleLogits, wedges
from intaglio.causal.methods.sicl.networks.inference import ColliderLogits
from intaglio.causal.scores.bic import LocalScore

TripleTerm = Literal["signed", "likelihood"]

NO_EDGE, FORWARD, BACKWARD = 0, 1, 2
"""States of a pair (i, j) with i < j: no edge, i → j, j → i."""

_MIN_GAIN = 1e-6
"""Gains below this are rounding errors; moves whose gains differ by less are ties."""


def refine(
    decoded: DecodedGraph,
    score: LocalScore,
    skeleton: Float[ndarray, "d d"],
    colliders: ColliderLogits,
    *,
    weight: float,
    candidate: float = 0.05,
    collider_threshold: float = 0.5,
    most_parents: int = 8,
    tabu: int = 10,
    patience: int = 100,
    triples: TripleTerm = "likelihood",
    knowledge: Knowledge = Knowledge(),
    keys: Sequence[bytes],
) -> DecodedGraph:
    """The class of the best DAG that a tabu search finds, starting from the decoded one.

    A move adds, deletes or reverses one arrow. Each step makes the best move, even if it loses; its pair is then tabu
    for some moves, unless moving it gives the best DAG so far. The objective is

        weight Σ_j score(j, parents of j) + Σ_edges s_ij + Σ_unshielded triples log sigmoid(±v), + for colliders,

    which with weight 0 is the log-probability of skeleton and colliders, up to a constant.

    Args:
        decoded: the graph to start from.
        score: score of the table's columns, in nats.
        skeleton: symmetric logits s that a pair is adjacent.
        colliders: gives logits v that triples are colliders; called once, with all triples of candidate pairs.
        weight: weight of the score, 0 or more; 0 leaves it out.
        candidate: probability above which a pair may be adjacent, in (0, 1). Pairs that are adjacent at the start, or
            known to be, are candidates too.
        collider_threshold: threshold of the decoder, by which `conflicts` are counted.
        most_parents: most parents of a variable.
        tabu: moves for which a pair is tabu, at most half the number of pairs.
        patience: moves in a row without a new best DAG after which the search ends.
        triples: "likelihood" as above; "signed" takes ±v itself. Both rank DAGs over one skeleton alike, but ±v also
            rewards every further triple with a large logit, and so wrong edges that make one.
        knowledge: the knowledge that the graph was decoded with.
        keys: a hash of each column's content, as for the decoder.

    Raises:
        BadInput: no DAG agrees with the knowledge.
        ValueError: settings outside their ranges, shapes, NaN, or a start that contradicts the knowledge.
    """
    line, collider_line = log_odds("candidate", candidate), log_odds("collider_threshold", collider_threshold)
    if not 0 <= weight < np.inf or min(most_parents, tabu, patience) < 1:
        raise ValueError("weight is 0 or more; most_parents, tabu and patience are 1 or more")
    names = decoded.dag.names
    if weight and score.columns != len(names):
        raise ValueError(f"the score is of {score.columns} columns, the graph of {len(names)}")
    canonical = CanonicalOrder.of(names, keys, knowledge)
    logits, start = canonical.symmetric(skeleton), decoded.dag.directed[np.ix_(canonical.order, canonical.order)]
    if not canonical.constraints.allow(start):
        raise ValueError("the graph to start from contradicts the knowledge; decode it with the same knowledge")
    pairs = ((logits > line) | start | start.T | canonical.constraints.adjacent) & ~canonical.constraints.apart
    triple_logits = canonical.triple_logits(colliders, wedges(pairs))
    objective = GraphObjective(
        score, weight, canonical.order.tolist(), np.clip(logits, -MAX_LOGIT, MAX_LOGIT), triple_logits, triples
    )
    dag = TabuSearch(objective, start, pairs, most_parents, canonical.constraints).run(tabu, patience)
    return DecodedGraph(*canonical.graphs(dag), triple_logits.disagreements(dag, collider_line), decoded.fallback)


class GraphObjective:
    """The objective of the search, over variables in canonical order; sets of variables are bits of integers."""

    def __init__(
        self,
        score: LocalScore,
        weight: float,
        order: Sequence[int],
        logits: Float[ndarray, "d d"],
        triple_logits: TripleLogits,
        triples: TripleTerm = "likelihood",
    ):
        self._score, self._weight, self._order, self._edges = score, weight, order, logits.tolist()
        self._known: dict[tuple[int, int], float] = {}
        term = (lambda v: v) if triples == "signed" else (lambda v: -np.logaddexp(0.0, -v))
        self._colliding, self._other = (
            TripleLogits(len(order), triple_logits.triples, term(sign * triple_logits.values)) for sign in (1.0, -1.0)
        )

    def local(self, child: int, parents: int) -> float:
        """The weighted score of one variable given its parents."""
        if not self._weight:
            return 0.0
        key = child, parents
        if key not in self._known:
            columns = [self._order[k] for k in members(parents)]
            self._known[key] = self._weight * self._score(self._order[child], columns)
        return self._known[key]

    def states(self, i: int, j: int, parents: Sequence[int], adjacent: Sequence[int]) -> tuple[float, float, float]:
        """Sum of the terms that depend on a pair, for no edge, i → j and j → i, with all other edges as they are."""
        bit_i, bit_j = 1 << i, 1 << j
        parents_i, parents_j = parents[i] & ~bit_j, parents[j] & ~bit_i
        beside_i, beside_j = adjacent[i] & ~adjacent[j] & ~bit_j, adjacent[j] & ~adjacent[i] & ~bit_i
        free_i, free_j = self.local(i, parents_i), self.local(j, parents_j)
        edge, apart = self._edges[i][j], self._as_legs(i, j, parents, adjacent)
        forward = self._tail(i, j, beside_i) + self._head(j, i, beside_j, parents_j)
        back = self._tail(j, i, beside_j) + self._head(i, j, beside_i, parents_i)
        return (
            free_i + free_j + apart,
            free_i + self.local(j, parents_j | bit_i) + edge + forward,
            self.local(i, parents_i | bit_j) + free_j + edge + back,
        )

    def total(self, parents: Sequence[int], adjacent: Sequence[int]) -> float:
        """The objective of a DAG."""
        found = 0.0
        for k, around in enumerate(adjacent):
            found += self.local(k, parents[k])
            for i in members(around):
                later = around & ~adjacent[i] & ~((2 << i) - 1)
                found += self._head(k, i, later, parents[k]) if parents[k] >> i & 1 else self._tail(k, i, later)
                found += self._edges[k][i] if i < k else 0.0
        return found

    def _tail(self, centre: int, leg: int, others: int) -> float:
        """Terms of the triples of a centre with one leg that does not point at it."""
        return self._other.total(centre, leg, others)

    def _head(self, centre: int, leg: int, others: int, parents: int) -> float:
        """Terms of the triples of a centre with one leg that points at it; the other leg does if it is a parent."""
        return self._colliding.total(centre, leg, others & parents) + self._other.total(centre, leg, others & ~parents)

    def _as_legs(self, i: int, j: int, parents: Sequence[int], adjacent: Sequence[int]) -> float:
        """Terms of the triples that have i and j as legs."""
        both, found = 1 << i | 1 << j, 0.0
        for k in members(adjacent[i] & adjacent[j]):
            found += (self._colliding if parents[k] & both == both else self._other).at(k, i, j)
        return found


class TabuSearch:
    """Tabu search over DAGs, one arrow per move, with a table of the gain of each move.

    The terms of a pair depend only on the edges of its two variables, so a move updates the gains of the pairs that
    share a variable with it.
    """

    def __init__(
        self,
        objective: GraphObjective,
        start: Bool[ndarray, "d d"],
        pairs: Bool[ndarray, "d d"],
        most_parents: int,
        constraints: Constraints,
    ):
        self.objective, self.most_parents = objective, most_parents
        self.parents, self.children = pack_rows(start.T), pack_rows(start)
        self.adjacent = pack_rows(start | start.T)
        self.pairs = [(i, j) for i, j in np.argwhere(np.triu(pairs, 1)).tolist()]
        self._at: list[list[int]] = [[] for _ in start]
        for index, pair in enumerate(self.pairs):
            for k in pair:
                self._at[k].append(index)
        first, second = np.array(self.pairs, np.intp).reshape(-1, 2).T
        self._barred = np.stack(
            [
                constraints.adjacent[first, second],
                constraints.forbidden[first, second],
                constraints.forbidden[second, first],
            ],
            axis=1,
        )
        self.gains = np.full((len(self.pairs), 3), -np.inf)
        self._update_gains(range(len(self.pairs)))

    def run(self, tabu: int, patience: int) -> Bool[ndarray, "d d"]:
        """The best DAG found until `patience` moves in a row gave no better one."""
        best = value = self.objective.total(self.parents, self.adjacent)
        found, step, last = list(self.children), 0, 0
        rests, rest = np.zeros(len(self.pairs), np.intp), min(tabu, len(self.pairs) // 2)
        while step - last < patience:
            step += 1
            move = self._choice(rests >= step, best - value)
            if move is None:
                break
            value += float(self.gains[move])
            self.move(*move)
            rests[move[0]] = step + rest
            if value > best + _MIN_GAIN:
                best, found, last = value, list(self.children), step
        return unpack_rows(found, len(found))

    def move(self, index: int, state: int) -> None:
        """Puts one pair into another state and updates the gains."""
        i, j = self.pairs[index]
        for tail, head, there in ((i, j, state == FORWARD), (j, i, state == BACKWARD)):
            self.parents[head] = self.parents[head] & ~(1 << tail) | there << tail
            self.children[tail] = self.children[tail] & ~(1 << head) | there << head
        for one, other in ((i, j), (j, i)):
            self.adjacent[one] = self.adjacent[one] & ~(1 << other) | (state != NO_EDGE) << other
        self._update_gains({*self._at[i], *self._at[j]})

    def acyclic(self, index: int, state: int) -> bool:
        """Whether the graph has no directed cycle with one pair in this state."""
        if state == NO_EDGE:
            return True
        tail, head = self.pairs[index] if state == FORWARD else self.pairs[index][::-1]
        return not is_reachable(self.children, self.children[head] & ~(1 << tail), tail)

    def _choice(self, resting: Bool[ndarray, "m"], needed: float) -> tuple[int, int] | None:
        """The best acyclic move; a tabu pair moves only for a new best DAG, which takes a gain above `needed`."""
        gains = self.gains.copy()
        gains[resting[:, None] & (gains <= needed + _MIN_GAIN)] = -np.inf
        while gains.size and (top := gains.max()) > -np.inf:
            # The first of ties, so that rounding errors do not matter.
            index, state = divmod(int(np.argmax(gains >= top - _MIN_GAIN)), 3)
            if self.acyclic(index, state):
                return index, state
            gains[index, state] = -np.inf
        return None

    def _update_gains(self, indices: Iterable[int]) -> None:
        for index in indices:
            i, j = self.pairs[index]
            now = FORWARD if self.parents[j] >> i & 1 else BACKWARD if self.parents[i] >> j & 1 else NO_EDGE
            term = np.array(self.objective.states(i, j, self.parents, self.adjacent))
            term -= term[now]
            term[self._barred[index]] = -np.inf
            term[now] = -np.inf
            full = [
                (self.parents[head] & ~(1 << tail)).bit_count() >= self.most_parents for tail, head in ((i, j), (j, i))
            ]
            term[1:][full] = -np.inf
            self.gains[index] = term
