"""Controls of SPOT's skeleton posterior: searches whose posterior says nothing of which pairs are adjacent.

Where SPOT is no better than these, what it gains comes from the masks and the weights as such, not from the posterior.
"""

import zlib
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from intaglio.causal.methods.spot.method import SPOT
from intaglio.causal.methods.spot.posterior import SkeletonProbabilities
from intaglio.causal.tables.table import Table
from intaglio.randomness import numpy_generator
from intaglio.runs.run import Run

STREAM = zlib.crc32(b"control")
"""Index of the random stream of the permutation, which nothing in SPOT has."""


@dataclass(frozen=True, kw_only=True)
class ControlledSPOT(SPOT):
    """SPOT with a posterior that says nothing of which pairs are adjacent."""

    control: Literal["constant", "random"] = "constant"
    """Posterior: the mean of the learnt one for all pairs, or the learnt one permuted over the pairs."""

    def _skeleton(self, table: Table, rows: int, run: Run) -> SkeletonProbabilities:
        learnt = super()._skeleton(table, rows, run)
        return constant_posterior(learnt) if self.control == "constant" else random_posterior(learnt, self.seed)


def constant_posterior(learnt: SkeletonProbabilities) -> SkeletonProbabilities:
    """The same posterior for all pairs, the mean of a learnt one, and likewise the inclusion; the density is kept."""
    above = np.triu_indices(len(learnt.names), 1)
    means = [np.full(len(above[0]), matrix[above].mean()) for matrix in (learnt.posterior, learnt.inclusion)]
    return replace(learnt, posterior=_matrix(means[0], above), inclusion=_matrix(means[1], above))


def random_posterior(learnt: SkeletonProbabilities, seed: int) -> SkeletonProbabilities:
    """A learnt posterior with its pairs permuted; a pair's posterior and inclusion stay together."""
    above = np.triu_indices(len(learnt.names), 1)
    order = numpy_generator(seed, STREAM).permutation(len(above[0]))
    return replace(
        learnt,
        posterior=_matrix(learnt.posterior[above][order], above),
        inclusion=_matrix(learnt.inclusion[above][order], above),
    )


def _matrix(values: Float64[ndarray, "p"], above: tuple[ndarray, ndarray]) -> Float64[ndarray, "d d"]:
    d = above[1].max() + 1
    made = np.zeros((d, d))
    made[above] = values
    return made + made.T
