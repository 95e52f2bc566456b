"""Sparsity, variance entropy and orthogonality of kernels, and the divergence of their principal coefficients.

After P. Gavrikov and J. Keuper, "CNN Filter DB", arXiv 2203.15331.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, log2, log10
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from intaglio.errors import require
from intaglio.explain.weights.family import KernelReader, Kernels

FLOOR = float(np.finfo(np.float32).eps)
"""Density of an empty bin."""


@dataclass(frozen=True, kw_only=True)
class FilterStatistics(KernelReader):
    """Entropy of the kernels' principal variances, sparsity and orthogonality; high entropy is random.

    A layer is called sparse where most of its kernels are, random where the entropy is above that of random kernels
    (T(n) of arXiv 2203.15331 for 3x3 kernels, the lowest of the random layers for others), alike where all of it lies
    in very few directions, and structured otherwise. The shift from another network is the divergence of the two
    distributions of principal coefficients.
    """

    reading = "the entropy of the kernels' principal variances, between 0 and the logarithm of a kernel's numbers"
    shift_reading = (
        "the symmetric Kullback-Leibler divergence of the two layers' principal coefficients, of kernels divided by "
        "their largest number, as a mean weighted by explained variance"
    )
    measured: ClassVar[tuple[str, ...]] = ("entropy", "sparsity", "orthogonality")

    small: float = 0.01
    """Share of the layer's largest absolute weight below which a weight counts as 0, above 0 and below 1."""
    alike: float = 0.5
    """Entropy below which a layer's kernels are called alike, 0 or more."""
    bins: int = 70
    """Bins of a coefficient's histogram, 2 or more."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.small < 1, f"small must be above 0 and below 1, not {self.small}")
        require(self.alike >= 0, f"alike must be 0 or more, not {self.alike}")
        require(self.bins >= 2, f"bins must be 2 or more, not {self.bins}")

    def figures(self, kernels: Kernels) -> Mapping[str, float]:
        """Entropy, share of sparse kernels, and orthogonality of the output channels."""
        rows = kernels.flatten(2).flatten(0, 1)
        sparse = (rows.abs() < self.small * rows.abs().max()).all(1) if bool(rows.any()) else torch.ones(len(rows))
        return {
            "entropy": self.main(kernels),
            "sparsity": float(sparse.float().mean()),
            "orthogonality": orthogonality(kernels),
        }

    def main(self, kernels: Kernels) -> float:
        """The entropy alone."""
        return variance_entropy(kernels.flatten(2).flatten(0, 1).double().numpy())

    def verdict(self, kernels: Kernels, figures: Mapping[str, float], chance: Sequence[float]) -> str:
        """Sparse, random, alike or structured."""
        if figures["sparsity"] > 0.5:
            return "sparse"
        least = random_entropy(kernels[:, :, 0, 0].numel()) if kernels.shape[2:] == (3, 3) else min(chance)
        if figures["entropy"] >= least:
            return "random"
        return "alike" if figures["entropy"] < self.alike else "structured"

    def shift(self, kernels: Kernels, others: Kernels) -> float:
        """Divergence of the coefficients in the principal directions of both layers together."""
        one, other = (_scaled(part.flatten(2).flatten(0, 1).double().numpy()) for part in (kernels, others))
        both = np.concatenate([one, other])
        _, sizes, directions = np.linalg.svd(both - both.mean(0), full_matrices=False)
        share = sizes**2 / max(float((sizes**2).sum()), 1e-300)
        one, other = ((part - both.mean(0)) @ directions.T for part in (one, other))
        bounds = min(one.min(), other.min()), max(one.max(), other.max())
        if bounds[0] == bounds[1]:
            return 0.0
        divergences = [self._divergence(a, b, bounds) for a, b in zip(one.T, other.T, strict=True)]
        return float(share @ np.array(divergences))

    def _divergence(self, one: Float[ndarray, "n"], other: Float[ndarray, "n"], bounds: tuple[float, float]) -> float:
        p, q = (_density(values, bounds, self.bins) for values in (one, other))
        return float(((p - q) * np.log(p / q)).sum())


def variance_entropy(rows: Float[ndarray, "n k"]) -> float:
    """Entropy of the shares of variance along principal directions, to base 10; 0 for rows without variance."""
    centred = rows - rows.mean(0)
    variances = np.linalg.eigvalsh(centred.T @ centred).clip(0)
    if variances.sum() <= 1e-24 * max(float((rows**2).sum()), 1e-300):
        return 0.0
    share = variances / variances.sum()
    return float(-sum(one * log10(one) for one in share if one > 0))


def random_entropy(count: int) -> float:
    """The entropy from which on a layer of `count` 3x3 kernels is called random: T(n) of arXiv 2203.15331."""
    return 1.2618 / (1 + exp(-0.8877 * (log2(count) - 2.3044))) - 0.3105


def orthogonality(kernels: Kernels) -> float:
    """1 where the output channels' weights are orthogonal, 0 where all are parallel; 1 for a single channel."""
    rows = torch.nn.functional.normalize(kernels.flatten(1).double(), dim=1)
    count = len(rows)
    if count == 1:
        return 1.0
    off = (rows @ rows.T - torch.eye(count, dtype=rows.dtype)).abs()
    off.fill_diagonal_(0)
    return 1 - float(off.sum()) / (count * (count - 1))


def _scaled(rows: Float[ndarray, "n k"]) -> Float[ndarray, "n k"]:
    """Each kernel divided by its largest absolute number; one of zeros stays."""
    largest = np.abs(rows).max(1, keepdims=True)
    return rows / np.where(largest == 0, 1, largest)


def _density(values: Float[ndarray, "n"], bounds: tuple[float, float], bins: int) -> Float[ndarray, "b"]:
    found, _ = np.histogram(values, bins, bounds, density=True)
    found = np.where(found == 0, FLOOR, found)
    return found / found.sum()
