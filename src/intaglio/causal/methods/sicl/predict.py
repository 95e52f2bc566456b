"""Prediction of SiCL: from a trained network's logits of one table to a graph with calibrated probabilities."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from intaglio.causal.graphs.graph import Graph
from intaglio.causal.graphs.knowledge import Knowledge
from intaglio.causal.graphs.meek import cpdag_of
from intaglio.causal.methods.sicl.decoding.decoder import DecodedGraph, decode, decode_directed
from intaglio.causal.methods.sicl.decoding.orient import unshielded
from intaglio.causal.methods.sicl.decoding.score_regime import MAX_TESTED_ROWS, score_regime
from intaglio.causal.methods.sicl.decoding.tabu_search import refine as tabu_refine
from intaglio.causal.methods.sicl.networks.inference import Logits, row_order
from intaglio.causal.methods.sicl.networks.logit_scaling import compelled_logit, probability
from intaglio.causal.methods.sicl.networks.weights import TrainedNetwork
from intaglio.causal.methods.sicl.reading import Reading, read_table
from intaglio.causal.tables.assumptions import ExaminedTable
from intaglio.causal.tables.table import Table
from intaglio.errors import BadInput

FEW_ROWS = 300
"""Rows up to which the weight of BIC is fitted separately."""
LEAST_CANDIDATE = 0.05
"""Probability above which a pair may become adjacent in the refinement."""
NOTABLE_LOGIT = -3.0
"""Logit of adjacency below which a lower one is not worth a word: a probability of 0.05."""


@dataclass(frozen=True, eq=False)
class PredictedGraph:
    """The graph over a table's usable columns, with calibrated probabilities."""

    names: tuple[str, ...]
    decoded: DecodedGraph
    adjacent: Float[ndarray, "d d"]
    """Probability that a pair is adjacent."""
    marks: Float[ndarray, "d d 3"]
    """Probabilities given adjacency: i → j compelled, j → i compelled, reversible."""
    triples: Int[ndarray, "t 3"]
    """Unshielded triples of the graph (centre, leg, leg), as indices into `names`."""
    colliders: Float[ndarray, "t"]
    """Probability that a triple is a collider."""
    bounded: tuple[str, ...]
    """Columns of pairs whose probability was lowered, as they have too few cases for the network."""
    reading: Reading
    """The logits of the network, with the evidence that they rest on."""

    def over_all_columns(self, table: Table) -> dict[str, Any]:
        """The fields of a `Discovery` over all columns of the table; those that were left out have no edges."""
        indices = np.array([table.all_names.index(name) for name in self.names], int)
        d = len(table.all_names)
        adjacent, marks = np.zeros((d, d)), np.zeros((d, d, 3))
        marks[..., 2] = 1.0
        adjacent[np.ix_(indices, indices)] = self.adjacent
        marks[np.ix_(indices, indices)] = self.marks
        inner = self.decoded.graph
        whole = np.zeros((d, d), np.int8)
        whole[np.ix_(indices, indices)] = inner.marks
        return {
            "graph": Graph(inner.kind, table.all_names, whole),
            "adjacent": adjacent,
            "marks": marks,
            "triples": indices[self.triples].reshape(-1, 3),
            "colliders": self.colliders,
            "conflicts": self.decoded.conflicts,
            "fallback": self.decoded.fallback,
        }


def predict_graph(
    trained: TrainedNetwork,
    examined: ExaminedTable,
    *,
    threshold: float | Literal["f1"],
    collider_threshold: float,
    refine: float | Literal["auto"],
    knowledge: Knowledge,
) -> PredictedGraph:
    """The graph and probabilities of one table.

    Args:
        trained: the network.
        examined: the table, with what of it counts.
        threshold: probability in (0, 1) above which a pair is adjacent (Node-Edge: an arrow is there); "f1" takes the
            one of the best expected F1.
        collider_threshold: probability in (0, 1) above which an unshielded triple is a collider.
        refine: weight of BIC in a tabu search from the decoded graph; "auto" takes the fitted one, 0 makes no search.
        knowledge: background knowledge.

    Raises:
        BadInput: a Node-Edge network with a collider threshold or a weight.
    """
    reading = read_table(trained, examined)
    table, keys, logits, scale = reading.examined.table, reading.keys, reading.logits, trained.calibration
    skeleton, n, d = reading.skeleton, reading.rows, len(table.names)
    lowered = (reading.trusted < reading.calibrated) & (reading.calibrated > NOTABLE_LOGIT)
    bounded = tuple(table.names[k] for k in np.flatnonzero(lowered.any(0)))
    adjacent = probability(skeleton)
    np.fill_diagonal(adjacent, 0.0)

    def colliders(triples: Int[ndarray, "t 3"]) -> Float[ndarray, "t"]:
        return scale.colliders(logits.colliders(triples), n, d)

    if logits.arrows is not None:
        _refuse_for_arrows(collider_threshold, refine)
        arrows = reading.bounded(scale.arrows(logits.arrows, n, d))
        line = best_f1_threshold(probability(arrows)[~np.eye(d, dtype=bool)]) if threshold == "f1" else threshold
        decoded = decode_directed(table.names, arrows, threshold=line, knowledge=knowledge, keys=keys)
    else:
        line = best_f1_threshold(adjacent[np.triu_indices(d, 1)]) if threshold == "f1" else threshold
        decoded = decode(
            table.names,
            skeleton,
            colliders,
            threshold=line,
            collider_threshold=collider_threshold,
            knowledge=knowledge,
            keys=keys,
        )
        if weight := _weight(reading, decoded, refine):
            decoded = tabu_refine(
                decoded,
                reading.evidence.score(),
                skeleton,
                colliders,
                weight=weight,
                # Where the network is not trusted, nor is a score with the same assumptions: it adds no edge.
                candidate=LEAST_CANDIDATE if reading.distrust == 0 or refine != "auto" else line,
                collider_threshold=collider_threshold,
                knowledge=knowledge,
                keys=keys,
            )
    triples = unshielded(decoded.graph.skeleton)
    p_colliders = probability(colliders(triples)) if len(triples) else np.zeros(0)
    marks = _marks(trained, logits, n, d, decoded.graph, triples, p_colliders)
    if decoded.graph.kind == "MPDAG":
        marks = marks_given_knowledge(marks, decoded, knowledge)
    return PredictedGraph(table.names, decoded, adjacent, marks, triples, p_colliders, bounded, reading)


def _refuse_for_arrows(collider_threshold: float, refine: float | Literal["auto"]) -> None:
    given = {"collider_threshold": collider_threshold != 0.5, "refine": refine not in ("auto", 0)}
    if name := next((name for name, is_set in given.items() if is_set), None):
        raise BadInput(f"a node-edge network's graph is read arrow by arrow and takes no {name}; leave it out")


def _weight(reading: Reading, decoded: DecodedGraph, refine: float | Literal["auto"]) -> float:
    """Weight of BIC in the refinement: the given one, or that fitted for tables of this regime and size."""
    weights, evidence = reading.trained.score_weights, reading.evidence
    if refine != "auto" or not weights:
        return 0.0 if refine == "auto" else refine
    kinds, values = evidence.kinds, evidence.values[0]
    if len(values) > MAX_TESTED_ROWS or evidence.share is not None:
        # The regime of a long table is tested on a part that does not depend on the order of its rows.
        values = values[row_order(values, kinds)][: round(evidence.rows)]
    return (1 - reading.distrust) * weights.get(score_regime_key(values, kinds, decoded.dag.directed), 0.0)


def score_regime_key(values: Float[ndarray, "n d"], kinds: Int[ndarray, "d"], dag: Bool[ndarray, "d d"]) -> str:
    """The key of a fitted weight of BIC: the table's regime, and whether it has few or many rows."""
    return f"{score_regime(values, kinds, dag)}, {'few' if len(values) <= FEW_ROWS else 'many'} rows"


def best_f1_threshold(probabilities: Float[ndarray, "k"]) -> float:
    """The threshold of the best expected F1, approximated by 2·Σ_kept p / (m + Σ p) with the m most probable kept.

    It lies midway between the last one that is kept and the first one that is not.
    """
    p = np.sort(probabilities)[::-1]
    if not p.size:
        return 0.5
    gain = 2 * p.cumsum() / (np.arange(1, len(p) + 1) + p.sum())
    last = int(gain.argmax())
    below = p[last + 1] if last + 1 < len(p) else 0.0
    return float(np.clip((p[last] + below) / 2, 1e-6, 1 - 1e-6))


def _marks(
    trained: TrainedNetwork, logits: Logits, n: float, d: int, graph: Graph, triples: ndarray, p_colliders: ndarray
) -> Float[ndarray, "d d 3"]:
    """Probabilities of each pair, given adjacency: forward, backward, reversible.

    They come from the head of marks where the network has one; from both arrows of a Node-Edge network; for SiCL as
    published an arrow takes the probability of the most probable collider that it is part of.
    """
    if logits.marks is not None:
        compelled = probability(trained.calibration.forward(compelled_logit(logits.marks), n, d))
        forward = probability(logits.marks[..., 0] - logits.marks[..., 1])
        return _normalised(compelled * forward, compelled * (1 - forward))
    if logits.arrows is not None:
        p = probability(trained.calibration.arrows(logits.arrows, n, d))
        both = np.maximum(p + p.T, 1e-12)
        return _normalised(p / both, p.T / both)
    forward = np.zeros((d, d))
    for (k, i, j), p in zip(triples.tolist(), p_colliders.tolist(), strict=True):
        forward[i, k], forward[j, k] = max(forward[i, k], p), max(forward[j, k], p)
    forward[graph.directed] = np.maximum(forward[graph.directed], 0.5)
    total = np.maximum(forward + forward.T, 1.0)
    return _normalised(forward / total, forward.T / total)


def marks_given_knowledge(
    marks: Float[ndarray, "d d 3"], decoded: DecodedGraph, knowledge: Knowledge
) -> Float[ndarray, "d d 3"]:
    """The mark probabilities given background knowledge.

    An arrow that knowledge states has probability 1. One that only follows from it takes the probability of reversible.
    """
    graph = decoded.graph
    settled = graph.directed & knowledge.constraints(graph.names).oriented(graph.skeleton)
    follows = graph.directed & ~settled & cpdag_of(decoded.dag.directed)[1]
    forward, backward = marks[..., 0].copy(), marks[..., 1].copy()
    forward[follows] += marks[..., 2][follows]
    backward[follows.T] += marks[..., 2][follows.T]
    forward[settled | settled.T], backward[settled | settled.T] = 0.0, 0.0
    forward[settled], backward[settled.T] = 1.0, 1.0
    return _normalised(forward, backward)


def _normalised(forward: Float[ndarray, "d d"], backward: Float[ndarray, "d d"]) -> Float[ndarray, "d d 3"]:
    found = np.stack([forward, backward, np.clip(1 - forward - backward, 0, 1)], -1)
    return np.clip(found, 0, 1)
