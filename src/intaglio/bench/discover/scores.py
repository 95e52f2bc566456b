"""Scores of an estimated graph against the true CPDAG, also of marks that are no valid CPDAG; calibration bins."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int8
from numpy import ndarray

from intaglio.causal.graphs.distances import Overlap
from intaglio.causal.graphs.graph import Graph
from intaglio.causal.graphs.marks import Mark
from intaglio.causal.graphs.validity import arrows
from intaglio.errors import BadInput

CALIBRATION_BINS = 10
F1S = ("skeleton_f1", "orientation_f1", "collider_f1")


def scored(truth: Graph, marks: Int8[ndarray, "d d"]) -> dict[str, Any]:
    """The figures of `intaglio.causal.graphs.distances.compare`, from the marks alone.

    Args:
        truth: the CPDAG.
        marks: as `Graph.marks`, over the truth's names in their order. Cycles, double arrows and unfinished
            orientations are taken as they are: each is wrong wherever the truth has something else.

    Returns:
        The F1s in [0, 1], 1 where truth and answer are both empty; `undefined`, which of them that was; `shd`;
        `edges` of the answer; whether it is a `valid` CPDAG.
    """
    overlaps = {
        "skeleton_f1": Overlap.of(_pairs(truth.marks), _pairs(marks)),
        "orientation_f1": Overlap.of(_arrows(truth.marks), _arrows(marks)),
        "collider_f1": Overlap.of(_colliders(truth.marks), _colliders(marks)),
    }
    differs = truth.marks != marks
    return {
        **{name: overlap.f1 for name, overlap in overlaps.items()},
        "undefined": [name for name, overlap in overlaps.items() if not overlap.defined],
        "shd": int(np.triu(differs | differs.T).sum()),
        "edges": int(np.triu(marks != 0).sum()),
        "valid": _valid(truth.names, marks),
    }


def binned(truth: Graph, adjacent: Float[ndarray, "d d"]) -> list[list[float]]:
    """For each of ten equal bins of probability: pairs, sum of their probabilities, number that are adjacent."""
    above = np.triu_indices(len(truth), 1)
    p, is_edge = np.clip(np.asarray(adjacent, np.float64)[above], 0, 1), truth.skeleton[above]
    index = np.minimum((p * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    sums = [
        np.bincount(index, weights, CALIBRATION_BINS) for weights in (np.ones(len(p)), p, is_edge.astype(np.float64))
    ]
    return np.stack(sums, 1).tolist()


def calibration_error(bins: Sequence[Sequence[Sequence[float]]]) -> float | None:
    """Expected calibration error over all tables' bins: mean over pairs of |probability - frequency| of their bin.

    None without pairs.
    """
    if not bins:
        return None
    pairs, sure, true = np.sum(np.asarray(bins, np.float64), axis=0).T
    return float(np.abs(sure - true).sum() / pairs.sum()) if pairs.sum() else None


def _valid(names: tuple[str, ...], marks: Int8[ndarray, "d d"]) -> bool:
    try:
        Graph("CPDAG", names, marks)
    except BadInput:
        return False
    return True


def _pairs(marks: Int8[ndarray, "d d"]) -> set[tuple[int, ...]]:
    return set(map(tuple, np.argwhere(np.triu(marks != 0)).tolist()))


def _arrows(marks: Int8[ndarray, "d d"]) -> set[tuple[int, ...]]:
    return set(map(tuple, np.argwhere(arrows(marks)).tolist()))


def _colliders(marks: Int8[ndarray, "d d"]) -> set[tuple[int, int, int]]:
    found = set()
    for k in range(len(marks)):
        heads = np.flatnonzero(marks[:, k] == Mark.ARROW).tolist()
        found |= {(k, i, j) for i in heads for j in heads if i < j and not marks[i, j]}
    return found
