"""Orientation of a fixed skeleton by collider logits and Meek's rules."""

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from intaglio.causal.graphs import meek
from intaglio.causal.graphs.bitsets import Reachability, members, pack_rows


def wedges(pairs: Bool[ndarray, "d d"]) -> Int[ndarray, "t 3"]:
    """All triples (centre, leg, leg) whose legs are adjacent to the centre, the first leg before the second."""
    found = [np.empty((0, 3), np.intp)]
    for centre in range(len(pairs)):
        around = np.flatnonzero(pairs[centre])
        first, second = np.triu_indices(len(around), 1)
        found.append(np.stack([np.full(len(first), centre), around[first], around[second]], axis=1))
    return np.concatenate(found)


def unshielded(pairs: Bool[ndarray, "d d"]) -> Int[ndarray, "t 3"]:
    """All unshielded triples (centre, leg, leg): wedges whose legs are not adjacent to each other."""
    found = wedges(pairs)
    return found[~pairs[found[:, 1], found[:, 2]]]


class TripleLogits:
    """Logits that triples (centre, leg, leg) are colliders, looked up with the legs in either order."""

    def __init__(self, d: int, triples: Int[ndarray, "t 3"], values: Float[ndarray, "t"]):
        self._d, self.triples, self.values = d, triples, values
        self._at = dict(zip(((k * d + i) * d + j for k, i, j in triples.tolist()), values.tolist(), strict=True))

    def at(self, centre: int, first: int, second: int) -> float:
        """The logit of one triple."""
        low, high = (first, second) if first < second else (second, first)
        return self._at[(centre * self._d + low) * self._d + high]

    def total(self, centre: int, leg: int, others: int) -> float:
        """Sum of the logits over the triples of a centre, a leg and any member of the set `others`."""
        return sum((self.at(centre, leg, other) for other in members(others)), 0.0)

    def strongest_first(self, line: float) -> list[tuple[int, int, int]]:
        """The triples with logits above `line`, in decreasing order; ties by the order of the variables."""
        order = np.argsort(-self.values, kind="stable")
        return [(k, i, j) for k, i, j in self.triples[order[self.values[order] > line]].tolist()]

    def disagreements(self, dag: Bool[ndarray, "d d"], line: float) -> int:
        """Number of a DAG's unshielded triples whose logit lies on the wrong side of `line`."""
        (centre, first, second), pairs = self.triples.T, dag | dag.T
        there = pairs[first, centre] & pairs[second, centre] & ~pairs[first, second]
        collider = dag[first, centre] & dag[second, centre]
        return int((there & (collider != (self.values > line))).sum())


class Orientation:
    """A partially directed graph with fixed adjacencies and acyclic arrows, oriented step by step."""

    def __init__(self, pairs: Bool[ndarray, "d d"], arrows: Bool[ndarray, "d d"]):
        d = len(pairs)
        self.pairs, self.directed = pairs, np.zeros((d, d), bool)
        self.adjacent, self.parents = pack_rows(pairs), [0] * d
        self.reach = Reachability(d)
        for tail, head in np.argwhere(arrows).tolist():
            self.orient(tail, head)

    @property
    def undirected(self) -> Bool[ndarray, "d d"]:
        """Undirected edges, symmetric."""
        return self.pairs & ~self.directed & ~self.directed.T

    def orient(self, tail: int, head: int) -> None:
        """Orients the edge of two variables."""
        self.directed[tail, head] = True
        self.parents[head] |= 1 << tail
        self.reach.add(tail, head)

    def accept_collider(self, centre: int, first: int, second: int, triple_logits: TripleLogits) -> None:
        """Orients both legs to the centre, unless this reverses an arrow, closes a cycle, or the logits oppose it.

        They oppose it where the sum over all colliders that it would make, itself included, is not above 0.
        """
        legs = 1 << first | 1 << second
        fresh = legs & ~self.parents[centre]
        # A leg that can be reached from the centre is the head of an arrow from it, or would close a cycle.
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
        """Applies Meek's rules to closure, except for arrows that close a cycle or make a collider.

        An edge that the rules orient both ways in one sweep is left undirected. Rule 4 is applied only with
        `knowledge`.
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
        collides = self.parents[head] & ~self.adjacent[tail] & ~(1 << tail)
        return not collides and not self.reach.leads_to(head, tail)
