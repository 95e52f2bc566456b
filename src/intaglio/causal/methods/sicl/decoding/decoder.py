"""Decoding of logits of adjacencies and colliders, or of arrows, to a valid CPDAG, or MPDAG with knowledge."""

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
from intaglio.causal.methods.sicl.decoding.canonical_order import MAX_LOGIT, CanonicalOrder, log_odds
from intaglio.causal.methods.sicl.decoding.orient import Orientation, TripleLogits, unshielded
from intaglio.causal.methods.sicl.networks.inference import ColliderLogits


@dataclass(frozen=True, eq=False)
class DecodedGraph:
    """The graph that logits were decoded to, and how far the logits contradicted it."""

    graph: Graph
    """A CPDAG; an MPDAG where knowledge orients further edges."""
    dag: Graph
    """One DAG of its class."""
    conflicts: int
    """Number of logits that the graph contradicts, given their thresholds.

    With `decode`, unshielded triples that are a collider in only one of both; with `decode_directed`, arrows that were
    dropped for a stronger opposite one or for a cycle.
    """
    fallback: bool
    """Whether no DAG has all accepted colliders, so that the graph comes from a search for one that has most."""


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
    """A valid CPDAG whose adjacencies are the pairs above the threshold, independent of the order of columns.

    Colliders are accepted strongest first, each unless it reverses an arrow, closes a cycle, or implies others whose
    logits are more negative in sum. Then Meek's rules are applied, except where they close a cycle or make a collider,
    and a DAG of that graph is constructed (Dor and Tarsi). Where there is none, the DAG in a causal order of the arrows
    is improved by reversals. The result is the CPDAG of that DAG, so it is always valid. Knowledge holds at every step:
    adjacencies that contradict it are dropped, weakest first.

    Args:
        names: names of the columns.
        skeleton: symmetric logits that a pair is adjacent; the diagonal is not read.
        colliders: called once, with all unshielded triples [t, 3] as indices of columns.
        threshold: probability above which a pair is adjacent, in (0, 1).
        collider_threshold: probability above which an unshielded triple is a collider, in (0, 1).
        knowledge: background knowledge over these names.
        keys: a hash of each column's content, which breaks ties; equal contents are ordered by name.

    Raises:
        BadInput: no DAG agrees with the knowledge.
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
    """The CPDAG of the DAG that logits of arrows give, as Node-Edge models such as AVICI predict them.

    Arrows above the threshold are kept; the weaker of two opposite ones is dropped, and so is the weakest of every
    directed cycle (arXiv 2205.12934 predicts arrows independently, so they need not be acyclic).

    Args:
        names: names of the columns.
        arrows: logits of i → j at [i, j]; the diagonal is not read.
        threshold: probability above which an arrow is kept, in (0, 1).
        knowledge: background knowledge over these names; its arrows are stronger than all others.
        keys: a hash of each column's content, which breaks ties; equal contents are ordered by name.

    Raises:
        BadInput: no DAG agrees with the knowledge.
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
    """The adjacent pairs, and the arrows that knowledge implies given these, without a cycle."""
    pairs = ((logits > line) | constraints.adjacent) & ~constraints.apart
    settled = constraints.oriented(pairs)
    reach, arrows = Reachability(len(pairs)), np.argwhere(settled)
    known = constraints.adjacent[tuple(arrows.T)]
    # Known adjacencies come first: they form no cycle, so only predicted ones are dropped.
    for tail, head in arrows[np.lexsort((-logits[tuple(arrows.T)], ~known))].tolist():
        if reach.leads_to(head, tail):
            pairs[tail, head] = pairs[head, tail] = False
        else:
            reach.add(tail, head)
    return pairs, settled & pairs


def _by_order(state: Orientation) -> Bool[ndarray, "d d"]:
    """The DAG of all adjacent pairs, directed by a causal order of the arrows."""
    position = np.argsort(causal_order(state.directed))
    return state.pairs & (position[:, None] < position[None, :])


def _hill_climbed(
    dag: Bool[ndarray, "d d"], settled: Bool[ndarray, "d d"], triple_logits: TripleLogits
) -> Bool[ndarray, "d d"]:
    """Hill climbing by reversals: maximises the sum of the logits of the DAG's unshielded colliders."""
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
"""Gains below this are rounding errors of sums of logits up to `MAX_LOGIT`."""


def _reverse(parents: list[int], children: list[int], tail: int, head: int) -> None:
    for bits, at, other in (
        (parents, head, tail),
        (children, tail, head),
        (parents, tail, head),
        (children, head, tail),
    ):
        bits[at] ^= 1 << other


def _without_cycles(arrows: Bool[ndarray, "d d"], strengths: Float[ndarray, "d d"]) -> Bool[ndarray, "d d"]:
    """Drops each arrow that is the weakest of some cycle: its head leads back to its tail by stronger ones."""
    kept, reach, found = arrows.copy(), Reachability(len(arrows)), np.argwhere(arrows)
    for tail, head in found[np.argsort(-strengths[tuple(found.T)], kind="stable")].tolist():
        kept[tail, head] = not reach.leads_to(head, tail)
        reach.add(tail, head)
    return kept


def _joined(dag: Bool[ndarray, "d d"], constraints: Constraints, logits: Float[ndarray, "d d"]) -> Bool[ndarray, "d d"]:
    """Adds an arrow to pairs that must be adjacent: the stronger one or, where that closes a cycle, the other."""
    dag = dag.copy()
    for pair in np.argwhere(np.triu(constraints.adjacent & ~dag & ~dag.T)).tolist():
        tail, head = pair if logits[tuple(pair)] >= logits[tuple(pair[::-1])] else reversed(pair)
        if is_reachable(pack_rows(dag), 1 << head, tail):
            tail, head = head, tail
        dag[tail, head] = True
    return dag
