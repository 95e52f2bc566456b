"""Scores of an estimated graph against the true PAG, also of marks that are no valid PAG."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Int8
from numpy import ndarray

from intaglio.causal.graphs.distances import Overlap
from intaglio.causal.graphs.graph import Graph
from intaglio.causal.graphs.marks import Mark
from intaglio.errors import BadInput

F1S = ("skeleton_f1", "pag_f1", "arrowhead_f1", "tail_f1")
SCORES = (*F1S, "shd")


def pag_scores(truth: Graph, marks: Int8[ndarray, "d d"], skeleton_only: bool = False) -> dict[str, Any]:
    """The figures of `intaglio.causal.graphs.distances.compare_pags`, from the marks alone.

    Args:
        truth: the PAG.
        marks: as `Graph.marks`, over the truth's names in their order; each is wrong wherever the truth has another.
        skeleton_only: whether the marks mean something else than those of a PAG.

    Returns:
        The F1s in [0, 1], 0 where truth and answer have nothing of the kind, as published; `shd`, the pairs whose edge
        or its absence differs; `edges` of the answer; whether it is `valid`: no directed cycle, and ancestral in the
        marks that are no circles. With `skeleton_only` the figures of marks are None.
    """
    joined = np.triu(marks != 0, 1)
    found: dict[str, Any] = dict.fromkeys((*SCORES, "valid"))
    found |= {"skeleton_f1": _f1(np.triu(truth.skeleton, 1), joined), "edges": int(joined.sum())}
    if skeleton_only:
        return found
    same = (truth.marks == marks) & (truth.marks == marks).T
    edges = Overlap(int((same & joined).sum()), int(joined.sum()), len(truth.edges))
    return found | {
        "pag_f1": edges.f1_or_zero,
        "arrowhead_f1": _f1(truth.marks == Mark.ARROW, marks == Mark.ARROW),
        "tail_f1": _f1(truth.marks == Mark.TAIL, marks == Mark.TAIL),
        "shd": int(np.triu(~same, 1).sum()),
        "valid": _valid(truth.names, marks),
    }


def _f1(truth: Bool[ndarray, "d d"], estimate: Bool[ndarray, "d d"]) -> float:
    return Overlap(int((truth & estimate).sum()), int(estimate.sum()), int(truth.sum())).f1_or_zero


def _valid(names: tuple[str, ...], marks: Int8[ndarray, "d d"]) -> bool:
    try:
        Graph("PAG", names, marks)
    except BadInput:
        return False
    return True
