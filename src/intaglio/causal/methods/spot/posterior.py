"""Posterior of the skeleton: the probability that each pair is adjacent in the MAG, and how often a search tries it."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64
from numpy import ndarray
from scipy.special import expit

from intaglio.causal.methods.spot.correlations import TOLERANCE, Correlations, refuse_cells
from intaglio.errors import BadInput

LEAST_INCLUSION = 0.02
"""Default of the smallest probability that a search tries a pair; at 0 a pair would be missed for good."""


@dataclass(frozen=True, eq=False)
class SkeletonProbabilities:
    """Probabilities of all pairs of d variables: symmetric matrices within 0 and 1, with a diagonal of 0.

    Raises:
        BadInput: a matrix that is not of the names, not symmetric, or with a number that is no probability.
    """

    names: tuple[str, ...]
    posterior: Float64[ndarray, "_ _"]
    """s, [d, d]: calibrated probability that i and j are adjacent in the MAG; read-only."""
    inclusion: Float64[ndarray, "_ _"]
    """u, [d, d]: probability that a step of a search may change the pair, no statement about the graph; read-only."""
    flags: tuple[str, ...] = ()
    """Sentences on what lies outside of the simulations that the posterior was learnt from."""

    def __post_init__(self):
        d = len(self.names)
        for name in ("posterior", "inclusion"):
            matrix = np.array(getattr(self, name))
            if matrix.shape != (d, d):
                raise BadInput(f"{name} has the shape {list(matrix.shape)}; {d} variables have [{d}, {d}]")
            self._check_cells(name, matrix)
            matrix = (matrix + matrix.T) / 2
            np.fill_diagonal(matrix, 0.0)
            matrix.setflags(write=False)
            object.__setattr__(self, name, matrix)

    def _check_cells(self, name: str, matrix: Float64[ndarray, "d d"]) -> None:
        outside, other = ~((matrix >= 0) & (matrix <= 1)), "is not that of the same pair the other way round"
        words = f"{name} of {{pair}} is no probability; give a number from 0 to 1"
        refuse_cells(outside, matrix, self.names, words)
        uneven = np.abs(matrix - matrix.T) > TOLERANCE
        refuse_cells(uneven, matrix, self.names, f"{name} of {{pair}} {other}; make them equal")


@runtime_checkable
class SkeletonPosterior(Protocol):
    """An estimator of the posterior of the skeleton from a table; equivariant in the columns."""

    def __call__(
        self, correlations: Correlations, seed: int = 0, values: Float64[ndarray, "n d"] | None = None
    ) -> SkeletonProbabilities:
        """The probabilities of all pairs; deterministic in the seed.

        Args:
            correlations: those of the table, with its number of rows and the names of its columns.
            seed: seed of all that is drawn.
            values: rows of the table, with columns in the order of the names, for an estimator that needs more than
                correlations; None where correlations are all that there is.

        Raises:
            BadInput: no rows for an estimator that needs them.
        """
        ...


@dataclass(frozen=True)
class TrainingRanges:
    """Sizes and densities of the simulations that a posterior was learnt from.

    Raises:
        ValueError: a range that is empty or not above 0.
    """

    variables: tuple[int, int]
    """Fewest and most variables."""
    rows: tuple[int, int]
    """Fewest and most rows."""
    density: tuple[float, float]
    """Smallest and largest number of adjacent pairs in the MAG per variable."""

    def __post_init__(self):
        for name in ("variables", "rows", "density"):
            low, high = getattr(self, name)
            if not 0 <= low <= high < np.inf:
                raise ValueError(f"{name} is a range of 0 or more, not {low} to {high}")

    def flags(self, correlations: Correlations, posterior: Float64[ndarray, "d d"]) -> tuple[str, ...]:
        """A sentence for the number of variables, of rows, and the expected density, where it is outside."""
        d = len(posterior)
        found = []
        for number, (low, high), what in (
            (d, self.variables, "variables"),
            (correlations.rows, self.rows, "rows"),
            (round(float(np.triu(posterior, 1).sum()) / d, 2), self.density, "expected adjacent pairs per variable"),
        ):
            if not low <= number <= high:
                found.append(
                    f"{number:,} {what} are outside of the {low:,} to {high:,} that the posterior was learnt from, so "
                    "that its probabilities may be off there"
                )
        return tuple(found)


def inclusion_of(
    balanced: Float64[ndarray, "d d"], power: float = 1.0, least: float = LEAST_INCLUSION
) -> Float64[ndarray, "d d"]:
    """Inclusion probabilities u = s_bal^τ, between `least` and 1, with a diagonal of 0 (arXiv 2406.10537).

    Args:
        balanced: scores in [0, 1] that were learnt from as many adjacent pairs as others, before their calibration.
        power: τ, above 0; more than 1 lets a search dwell on pairs that are sure.
        least: smallest probability of a pair, above 0 and at most 1.

    Raises:
        ValueError: a power that is not above 0, or a least probability outside of its range.
    """
    if not 0 < power < np.inf or not 0 < least <= 1:
        raise ValueError(f"power is above 0 and least within 0 and 1, above 0, not {power} and {least}")
    found = np.clip(balanced**power, least, 1.0)
    np.fill_diagonal(found, 0.0)
    return found


def two_variables(correlations: Correlations) -> SkeletonProbabilities:
    """The posterior of two variables by the BIC: the odds that they are adjacent are exp(½ (-n log(1 - r²) - log n)).

    No conditioning set tells anything of two variables, and the correlation alone says it all.
    """
    r, n = float(correlations.matrix[0, 1]), correlations.rows
    p = float(expit(0.5 * (-n * np.log1p(-(r**2)) - np.log(n))))
    found = np.array([[0.0, p], [p, 0.0]])
    return SkeletonProbabilities(correlations.names, found, 1 - np.eye(2))
