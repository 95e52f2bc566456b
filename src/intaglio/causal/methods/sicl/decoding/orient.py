"""Arrows given one by one to fixed adjacencies, and what logits of colliders say to them."""

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from intaglio.causal.graphs import meek
from intaglio.causal.graphs.bitsets import Reachability, members, pack_rows


def wedges(pairs: Bool[ndarray, "d d"]) -> Int[ndarray, "t 3"]:
    """All (centre, leg, leg) whose legs are adjacent to the centre, first leg before second."""
    found = [np.empty((0, 3), np.intp)]
    for centre in range(len(pairs)):
        around = np.flatnonzero(pairs[centre])
        first, second = np.triu_indices(len(around), 1)
        found.append(np.stack([np.full(len(first), centre), around[first], around[second]], axis=1))
    return np.concatenate(found)


def unshielded(pairs: Bool[ndarray, "d d"]) -> Int[ndarray, "t 3"]:
    """Those of them whose legs are not adjacent to each other."""
    found = wedges(pairs)
    return found[~pairs[found[:, 1], found[:, 2]]]


class TripleLogits:
    """Logits that triples (centre, leg, leg) are colliders, to be asked for by any order of the legs."""

    def __init__(self, d: int, triples: Int[ndarray, "t 3"], values: Float[ndarray, "t"]):
        self._d, self.triples, self.values = d, triples, values
        self._at = dict(zip(((k * d + i) * d + j for k, i, j in triples.tolist()), values.tolist(), strict=True))

    def at(self, centre: int, first: int, second: int) -> float:
        """The logit of one triple."""
        low, high = (first, second) if first < second else (second, first)
        return self._at[(centre * self._d + low) * self._d + high]

    def total(self, centre: int, leg: int, others: int) -> float:
        """The sum over all triples of a centre, a leg and one of a set."""
        return sum((self.at(centre, leg, other) for other in members(others)), 0.0)

    def strongest_first(self, line: float) -> list[tuple[int, int, int]]:
        """The triples above a line, in decreasing order; of equals the one whose variables come first."""
        order = np.argsort(-self.values, kind="stable")
        return [(k, i, j) for k, i, j in self.triples[order[self.values[order] > line]].tolist()]

    def disagreements(self, dag: Bool[ndarray, "d d"], line: float) -> int:
        """How many of the triples that are unshielded in a DAG are colliders below the line, or none above it."""
        (centre, first, second), pairs = self.triples.T, dag | dag.T
        there = pairs[first, centre] & pairs[second, centre] & ~pairs[first, second]
        collider = dag[first, centre] & dag[second, centre]
        return int((there & (collider != (self.values > line))).sum())


class Orientation:
    """Adjacent pairs, some of them arrows that form no cycle."""

    def __init__(self, pairs: Bool[ndarray, "d d"], arrows: Bool[ndarray, "d d"]):
        d = len(pairs)
        self.pairs, self.directed = pairs, np.zeros((d, d), bool)
        self.adjacent, self.parents = pack_rows(pairs), [0] * d
        self.reach = Reachability(d)
        for tail, head in np.argwhere(arrows).tolist():
            self.orient(tail, head)

    @property
    def undirected(self) -> Bool[ndarray, "d d"]:
        """Symmetric: adjacent pairs without an arrow."""
        return self.pairs & ~self.directed & ~self.directed.T

    def orient(self, tail: int, head: int) -> None:
        """Makes the edge of two variables an arrow."""
        self.directed[tail, head] = True
        self.parents[head] |= 1 << tail
        self.reach.add(tail, head)

    def accept_collider(self, centre: int, first: int, second: int, triple_logits: TripleLogits) -> None:
        """Points both legs at the centre, unless this turns an arrow, closes a cycle, or is voted down.

        It is voted down where all the colliders that it would make, this one among them, have no logits above 0 in sum.
        """
        legs = 1 << first | 1 << second
        fresh = legs & ~self.parents[centre]
        # A leg that the centre leads to is either the head of an arrow from it or the way back of a cycle.
        if self.reach.below[centre] & legs or not fresh:
            return
        gain, before = 0.0, self.parents[centre]
        for leg in members(fresh):
            gain += triple_logits.total(centre, leg, before & ~self.adjacent[leg])
            before |= 1 << leg
        if gain > 0:
            for leg in members(fresh):
                self.orient(leg, centre)

    def apply_rules(self, *, knowledge: bool) -> None:
        """Applies Meek's rules until they say nothing new; an arrow that closes a cycle or makes a collider is refused.

        Of an edge that the rules want both ways in one sweep nothing is said. Rule 4 only acts on `knowledge`.
        """
        away, refused = meek.apart(self.pairs), np.zeros_like(self.pairs)
        while True:
            undirected = self.undirected
            new = meek.rule_1(self.directed, undirected, away) | meek.rule_2(self.directed, undirected)
            new &= ~new.T & ~refused
            if not new.any():
                new = meek.rule_3(self.directed, undirected, away)
                if knowledge:
                    new |= meek.rule_4(self.directed, undirected, away)
                new &= ~new.T & ~refused
            if not new.any():
                return
            for tail, head in np.argwhere(new).tolist():
                if self._fits(tail, head):
                    self.orient(tail, head)
                else:
                    refused[tail, head] = True

    def _fits(self, tail: int, head: int) -> bool:
        collider_labels = self.parents[head] & ~self.adjacent[tail] & ~(1 << tail)
        return not collider_labels and not self.reach.is_reachable(head, tail)
