"""From logits of adjacencies and colliders, or of arrows, to one valid CPDAG, or MPDAG where knowledge adds to it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from intaglio.causal.graphs import meek
from intaglio.causal.graphs.bitsets import Reachability, is_reachable, pack_rows, unpack_rows
from intaglio.causal.graphs.graph import Graph
from intaglio.causal.graphs.knowledge import Constraints, Knowledge
from intaglio.causal.graphs.paths import causal_order
from intaglio.causal.methods.sicl.decoding.canonical_order import MAX_LOGIT, CanonicalOrder, ColliderLogits, log_odds
from intaglio.causal.methods.sicl.decoding.orient import Orientation, TripleLogits, unshielded


@dataclass(frozen=True, eq=False)
class DecodedGraph:
    """The graph that logits were turned into, and how well they agreed with one another."""

    graph: Graph
    """A CPDAG; an MPDAG where knowledge orients more than the Markov class does."""
    dag: Graph
    """One DAG of it."""
    conflicts: int
    """Statements of the logits, each held against its threshold, that the graph contradicts.

    Of `decode`: unshielded triples called a collider, or none, that are the other; of `decode_directed`: arrows that
    were dropped for a stronger opposite one or for a cycle.
    """
    fallback: bool
    """No DAG agrees with the accepted colliders and what follows from them, so the one that agrees most was sought."""


def decode(
    names: Sequence[str],
    skeleton: Float[ndarray, "d d"],
    colliders: ColliderLogits,
    *,
    threshold: float = 0.5,
    collider_threshold: float = 0.5,
    knowledge: Knowledge = Knowledge(),
    keys: Sequence[bytes],
) -> DecodedGraph:
    """One valid CPDAG whose adjacencies are the pairs above the threshold, deterministic whatever the column order.

    Colliders are accepted strongest first, each where it contradicts no arrow, closes no cycle and does not make
    others along with it that the logits deny by more; then the orientation rules of Meek are applied, where they close
    no cycle and make no collider; then a DAG of that graph is sought (Dor and Tarsi). Where there is none, a DAG in
    an order of these arrows is improved by reversals. The result is the class of that DAG, so it is always one.
    Knowledge is honoured at every step: an adjacency that it makes impossible is left out, weakest first.

    Args:
        names: of the columns.
        skeleton: symmetric logits that a pair is adjacent; the diagonal is not read.
        colliders: asked once, for all unshielded triples [t, 3] of the adjacencies, by column.
        threshold: probability above which a pair is adjacent, in (0, 1).
        collider_threshold: probability above which an unshielded triple is a collider, in (0, 1).
        knowledge: over these names.
        keys: a hash of each column's content; ties are broken by it, and by name where two contents are the same.

    Raises:
        BadInput: knowledge that no DAG agrees with.
        ValueError: thresholds, shapes, NaN, or logits that are not symmetric.
    """
    line, collider_line = log_odds("threshold", threshold), log_odds("collider_threshold", collider_threshold)
    canonical = CanonicalOrder.of(names, keys, knowledge)
    pairs, settled = _possible(canonical.symmetric(skeleton), line, canonical.constraints)
    triple_logits = canonical.triple_logits(colliders, unshielded(pairs))
    state = Orientation(pairs, settled)
    for triple in triple_logits.strongest_first(collider_line):
        state.accept_collider(*triple, triple_logits)
    state.apply_rules(knowledge=bool(settled.any()))
    dag = meek.extension(state.directed, state.undirected)
    if fallback := dag is None:
        dag = _hill_climbed(_by_order(state), settled, triple_logits)
    return DecodedGraph(*canonical.graphs(dag), triple_logits.disagreements(dag, collider_line), fallback)


def decode_directed(
    names: Sequence[str],
    arrows: Float[ndarray, "d d"],
    *,
    threshold: float = 0.5,
    knowledge: Knowledge = Knowledge(),
    keys: Sequence[bytes],
) -> DecodedGraph:
    """The CPDAG of the DAG that a matrix of arrows stands for, as Node-Edge models such as AVICI predict it.

    Each arrow above the threshold is kept, the weaker of two opposite ones is dropped, and so is the weakest arrow of
    every directed cycle (arXiv 2205.12934 predicts each arrow by itself, so nothing else keeps them acyclic).

    Args:
        names: of the columns.
        arrows: logits of i → j at [i, j]; the diagonal is not read.
        threshold: probability above which an arrow is there, in (0, 1).
        knowledge: over these names; its arrows are stronger than all others.
        keys: a hash of each column's content; ties are broken by it, and by name where two contents are the same.

    Raises:
        BadInput: knowledge that no DAG agrees with.
        ValueError: thresholds, shapes, or NaN.
    """
    line = log_odds("threshold", threshold)
    canonical = CanonicalOrder.of(names, keys, knowledge)
    constraints, logits = canonical.constraints, canonical.ordered(arrows)
    wanted = (logits > line) & ~constraints.forbidden
    strengths = np.where(constraints.required, np.inf, np.clip(logits, -MAX_LOGIT, MAX_LOGIT))
    strengths[~wanted & ~constraints.required] = -np.inf
    # Of two opposite arrows of the same strength the one from the variable that comes first is kept.
    stronger = (strengths > strengths.T) | ((strengths == strengths.T) & np.triu(np.ones_like(wanted)))
    dag = _without_cycles((wanted | constraints.required) & stronger, strengths)
    dropped = int((wanted & ~dag).sum())
    return DecodedGraph(*canonical.graphs(_joined(dag, constraints, logits)), dropped, False)


def _possible(
    logits: Float[ndarray, "d d"], line: float, constraints: Constraints
) -> tuple[Bool[ndarray, "d d"], Bool[ndarray, "d d"]]:
    """The adjacent pairs, and the arrows that are settled by knowledge given these; the arrows form no cycle."""
    pairs = ((logits > line) | constraints.adjacent) & ~constraints.apart
    settled = constraints.oriented(pairs)
    reach, arrows = Reachability(len(pairs)), np.argwhere(settled)
    known = constraints.adjacent[tuple(arrows.T)]
    # What is known comes first: it forms no cycle, so only adjacencies that were merely found are given up.
    for tail, head in arrows[np.lexsort((-logits[tuple(arrows.T)], ~known))].tolist():
        if reach.is_reachable(head, tail):
            pairs[tail, head] = pairs[head, tail] = False
        else:
            reach.add(tail, head)
    return pairs, settled & pairs


def _by_order(state: Orientation) -> Bool[ndarray, "d d"]:
    """The DAG of all adjacent pairs in a causal order of the arrows."""
    position = np.argsort(causal_order(state.directed))
    return state.pairs & (position[:, None] < position[None, :])


def _hill_climbed(
    dag: Bool[ndarray, "d d"], settled: Bool[ndarray, "d d"], triple_logits: TripleLogits
) -> Bool[ndarray, "d d"]:
    """Reverses one arrow after the other as long as the logits gain: those of colliders less those of other triples."""
    adjacent, parents, children = pack_rows(dag | dag.T), pack_rows(dag.T), pack_rows(dag)
    free = np.argwhere(np.triu(dag | dag.T) & ~settled & ~settled.T).tolist()
    moved = True
    while moved:
        moved = False
        for pair in free:
            tail, head = pair if parents[pair[1]] >> pair[0] & 1 else reversed(pair)
            lost = triple_logits.total(head, tail, parents[head] & ~adjacent[tail] & ~(1 << tail))
            gain = triple_logits.total(tail, head, parents[tail] & ~adjacent[head]) - lost
            if gain > _MIN_GAIN and not is_reachable(children, children[tail] & ~(1 << head), head):
                _reverse(parents, children, tail, head)
                moved = True
    return unpack_rows(children, len(dag))


_MIN_GAIN = 1e-8
"""Gains below this are the rounding of sums of logits up to `MOST`."""


def _reverse(parents: list[int], children: list[int], tail: int, head: int) -> None:
    for bits, at, other in (
        (parents, head, tail),
        (children, tail, head),
        (parents, tail, head),
        (children, head, tail),
    ):
        bits[at] ^= 1 << other


def _without_cycles(arrows: Bool[ndarray, "d d"], strengths: Float[ndarray, "d d"]) -> Bool[ndarray, "d d"]:
    """Drops each arrow that is the weakest of some cycle: one whose head leads back to its tail by stronger ones."""
    kept, reach, found = arrows.copy(), Reachability(len(arrows)), np.argwhere(arrows)
    for tail, head in found[np.argsort(-strengths[tuple(found.T)], kind="stable")].tolist():
        kept[tail, head] = not reach.is_reachable(head, tail)
        reach.add(tail, head)
    return kept


def _joined(dag: Bool[ndarray, "d d"], constraints: Constraints, logits: Float[ndarray, "d d"]) -> Bool[ndarray, "d d"]:
    """Joins each two that must be adjacent, by the stronger arrow or, where that closes a cycle, by the other."""
    dag = dag.copy()
    for pair in np.argwhere(np.triu(constraints.adjacent & ~dag & ~dag.T)).tolist():
        tail, head = pair if logits[tuple(pair)] >= logits[tuple(pair[::-1])] else reversed(pair)
        if is_reachable(pack_rows(dag), 1 << head, tail):
            tail, head = head, tail
        dag[tail, head] = True
    return dag
