"""`Recalibration`: boosted trees that judge a network's answer on tables that may contradict its assumptions.

Learnt on simulated tables of which a part breaks an assumption: how probable it is that the answer of the network is
worse than no edge at all, and how probable each pair is then.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from safetensors.numpy import save_file
from scipy.special import logit

from intaglio.causal.methods.sicl.networks.logit_scaling import probability
from intaglio.errors import BadInput
from intaglio.learning.boosted_trees import BoostedTrees
from intaglio.models.weights_file import read_weights

TRUSTED, DISTRUSTED = 0.05, 0.3
"""Probabilities that an answer is worse than no edge: up to the first the network's logits stay, from the second on the
trees' take their place, and between them the mixture of both."""
MOST_REASONS, LEAST_GAIN = 2, 0.7
"""Most groups of features that are named, and least gain in log-odds of one."""
NAMES = ("pairs", "worse", "unaided")
SINGLE = ("threshold", "value")
"""Arrays that are stored in single precision."""


@dataclass(frozen=True, eq=False)
class Recalibration:
    """The trees; features are those of `trust_features`.

    Raises:
        BadInput: trees over different numbers of features of tables.
    """

    pairs: BoostedTrees
    """Log-odds that a pair is adjacent, from the features of the pair and of its table."""
    worse: BoostedTrees
    """Log-odds that the network's graph is worse than no edge by SHD, from the features of the table."""
    unaided: BoostedTrees
    """The same of its graph where all rows count and no gap is filled, whatever the table contradicts."""
    typical: Float[ndarray, "_"]
    """Medians of the features over tables with answers better than no edge."""

    def __post_init__(self):
        t = len(self.typical)
        if not self.worse.features == self.unaided.features == t < self.pairs.features:
            raise BadInput("trees over different features; take the weights from where they were made")

    def distrust(self, table: Float[ndarray, "t"]) -> float:
        """Weight in [0, 1] of the trees beside the network."""
        return float(np.clip((self.unlikeness(table) - TRUSTED) / (DISTRUSTED - TRUSTED), 0.0, 1.0))

    def unlikeness(self, table: Float[ndarray, "t"]) -> float:
        """Probability that the network's graph is worse than no edge, with what is done against what is broken."""
        return float(self.worse.probability(table[None])[0])

    def reasons(self, table: Float[ndarray, "t"], groups: Mapping[str, int]) -> tuple[str, ...]:
        """The groups of features that speak most against the answer, at most `MOST_REASONS`, the strongest first.

        A group counts by how much the log-odds fall where its features have typical values.
        """
        ends = np.cumsum(list(groups.values()))
        changed = np.tile(table, (len(groups), 1))
        for row, end, size in zip(changed, ends, groups.values(), strict=True):
            row[end - size : end] = self.typical[end - size : end]
        gains = self.unaided.log_odds(table[None])[0] - self.unaided.log_odds(changed)
        order = np.argsort(-gains, kind="stable")[:MOST_REASONS]
        return tuple(list(groups)[k] for k in order if gains[k] >= LEAST_GAIN)

    def mixed(
        self, skeleton: Float[ndarray, "d d"], pairs: Float[ndarray, "p f"], distrust: float
    ) -> Float[ndarray, "d d"]:
        """Log-odds of the mixture of both probabilities; the given ones where nothing is to be distrusted.

        Args:
            skeleton: logits of the network, symmetric.
            pairs: features, in the order of `numpy.triu_indices`.
            distrust: weight in [0, 1] of the trees.
        """
        if not distrust:
            return skeleton
        found, upper = skeleton.copy(), np.triu_indices(len(skeleton), 1)
        trees = self.pairs.probability(pairs)
        p = (1 - distrust) * probability(skeleton[upper]) + distrust * trees
        found[upper] = logit(np.clip(p, 1e-12, 1 - 1e-12))
        found.T[upper] = found[upper]
        return found

    def save(self, path: Path) -> None:
        """Writes the trees as one file of arrays."""
        arrays = {f"{name}.{key}": value for name in NAMES for key, value in getattr(self, name).arrays().items()}
        arrays["typical.value"] = self.typical
        save_file(
            {
                key: np.ascontiguousarray(value.astype(np.float32) if key.split(".")[1] in SINGLE else value)
                for key, value in arrays.items()
            },
            path,
        )

    @classmethod
    def load(cls, path: Path) -> "Recalibration":
        """The trees of such a file. Raises `BadInput` where it is damaged."""
        tensors, _ = read_weights(path, "network's trees")
        parts: dict[str, dict[str, ndarray]] = {name: {} for name in (*NAMES, "typical")}
        for key, tensor in tensors.items():
            name, _, field = key.partition(".")
            if name in parts:
                parts[name][field] = tensor.numpy().astype(np.float64) if field in SINGLE else tensor.numpy()
        if "value" not in parts["typical"]:
            raise BadInput(f"{path} lacks 'typical.value'; take the folder from where it was made")
        return cls(*(_trees(parts[name], path) for name in NAMES), typical=parts["typical"]["value"])


def _trees(arrays: Mapping[str, ndarray], path: Path) -> BoostedTrees:
    try:
        return BoostedTrees.from_arrays(arrays)
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from None
