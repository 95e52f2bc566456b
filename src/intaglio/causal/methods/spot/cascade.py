"""`SkeletonCascade`: the skeleton posterior by boosted trees on partial correlations, in two orders.

The first order scores all pairs by conditioning sets of one variable among the neighbours that the correlations leave,
the second by sets of two among the neighbours that the first leaves, with the first score as a feature (arXiv
2406.10537). Trees are learnt with equal weights of adjacent pairs and others; calibration brings the odds back.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float64
from numpy import ndarray
from safetensors.torch import save_file

from intaglio.causal.methods.spot.correlations import Correlations
from intaglio.causal.methods.spot.odds_calibration import OddsCalibration
from intaglio.causal.methods.spot.posterior import LEAST_INCLUSION, SkeletonProbabilities, TrainingRanges, inclusion_of
from intaglio.causal.methods.spot.skeleton_features import marginal_neighbours, skeleton_features
from intaglio.data_files import parse_json
from intaglio.errors import BadInput
from intaglio.files import PACKAGE, atomic_path
from intaglio.learning.boosted_trees import BoostedTrees
from intaglio.models.weights_file import read_weights

SHIPPED = PACKAGE / "causal/methods/spot/shipped/cascade.safetensors"
FORMAT = "1"
NEIGHBOUR_SCORE = 0.3
"""Score of the first order from which two variables are neighbours in the second."""


@dataclass(frozen=True, eq=False)
class SkeletonCascade:
    """The trees of both orders, with their calibrations and what they were learnt from; an estimator of the posterior.

    There are two calibrations, for graphs with hidden common causes and for those without.
    """

    first: BoostedTrees
    """Trees over the features of order 1."""
    second: BoostedTrees
    """Trees over the first score and the features of order 2."""
    calibrations: Mapping[bool, OddsCalibration]
    """Calibration of the second score, by whether there may be hidden causes."""
    ranges: TrainingRanges
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the training and figures on held-out simulations, as plain values."""
    hidden_causes: bool = True
    """Which calibration a call takes."""
    least_inclusion: float = LEAST_INCLUSION
    """Smallest inclusion probability u of a pair, above 0 and at most 1."""

    def __call__(
        self, correlations: Correlations, seed: int = 0, values: Float64[ndarray, "n d"] | None = None
    ) -> SkeletonProbabilities:
        """See `SkeletonPosterior.__call__`; the trees look at the correlations alone."""
        matrix, rows, d = correlations.matrix, correlations.rows, len(correlations.names)
        score = self.second.probability(second_features(self.first, matrix, rows, seed))
        posterior = pairs_matrix(self.calibrations[self.hidden_causes](score, d, rows), d)
        inclusion = inclusion_of(pairs_matrix(score, d), least=self.least_inclusion)
        flags = self.ranges.flags(correlations, posterior)
        return SkeletonProbabilities(correlations.names, posterior, inclusion, flags)

    def save(self, path: Path) -> None:
        """Writes it as one file of arrays with the rest as metadata."""
        tensors = {
            f"{name}.{key}": torch.from_numpy(np.ascontiguousarray(array))
            for name, trees in (("first", self.first), ("second", self.second))
            for key, array in trees.arrays().items()
        }
        about = {
            "format": FORMAT,
            "calibrations": {_KEYS[hidden]: asdict(one) for hidden, one in self.calibrations.items()},
            "ranges": asdict(self.ranges),
            "facts": dict(self.facts),
        }
        with atomic_path(path) as fresh:
            # One entry alone: safetensors writes several in an order that changes from file to file.
            save_file(tensors, fresh, {"about": json.dumps(about)})

    @classmethod
    def load(cls, path: Path) -> "SkeletonCascade":
        """The cascade in a file. Raises `BadInput` where it cannot be used; nothing is unpickled."""
        tensors, metadata = read_weights(path, "trees of a skeleton posterior")
        remedy = "give the file as it was written"
        about = parse_json(metadata.get("about", "{}"), f"{path}, metadata", remedy)
        if not isinstance(about, dict) or FORMAT not in (about.get("format"), metadata.get("format")):
            raise BadInput(f"{path} holds no skeleton posterior of format {FORMAT}; {remedy}")
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
        trees = [
            BoostedTrees.from_arrays({k.partition(".")[2]: v for k, v in arrays.items() if k.startswith(f"{name}.")})
            for name in ("first", "second")
        ]
        try:
            calibrations = {hidden: OddsCalibration(**about["calibrations"][_KEYS[hidden]]) for hidden in _KEYS}
            ranges = TrainingRanges(**{name: tuple(pair) for name, pair in about["ranges"].items()})
            facts = dict(about["facts"])
        except (KeyError, TypeError, ValueError, AttributeError):
            raise BadInput(f"{path}: its calibration or ranges are damaged; {remedy}") from None
        return cls(trees[0], trees[1], calibrations, ranges, facts)


_KEYS = {True: "with hidden causes", False: "without hidden causes"}


@cache
def shipped_cascade() -> SkeletonCascade:
    """The cascade of the package."""
    return SkeletonCascade.load(SHIPPED)


def first_features(correlation: Float64[ndarray, "d d"], rows: int, seed: int) -> Float64[ndarray, "p f"]:
    """Features of the first order, a row for each pair."""
    return skeleton_features(correlation, rows, 1, marginal_neighbours(correlation, rows), seed).values


def second_features(
    first: BoostedTrees, correlation: Float64[ndarray, "d d"], rows: int, seed: int
) -> Float64[ndarray, "p g"]:
    """Scores of the first order and features of the second, a row for each pair."""
    score = first.probability(first_features(correlation, rows, seed))
    neighbours: Bool[ndarray, "d d"] = pairs_matrix(score, len(correlation)) >= NEIGHBOUR_SCORE
    return np.column_stack([score, skeleton_features(correlation, rows, 2, neighbours, seed).values])


def pairs_matrix(values: Float64[ndarray, "p"], d: int) -> Float64[ndarray, "d d"]:
    """The symmetric matrix, 0 on its diagonal, of values in the order of `numpy.triu_indices(d, 1)`."""
    found = np.zeros((d, d))
    found[np.triu_indices(d, 1)] = values
    return found + found.T
