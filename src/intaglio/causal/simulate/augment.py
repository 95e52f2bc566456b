"""Augmentations of simulated tables that leave their graph valid: sign flips, monotone maps, missing cells, fewer rows.

Rounding, measurement error and dropped common causes are left out: after these a table is not Markov to its graph.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from intaglio.causal.simulate.batch import Batch
from intaglio.causal.simulate.mechanisms import standardised
from intaglio.errors import BadInput

MONOTONE_MAPS: tuple[Callable[[Float[ndarray, "k n"]], Float[ndarray, "k n"]], ...] = (
    np.cbrt,
    np.arcsinh,
    lambda x: np.sinh(np.clip(x, -6, 6)) + x,
    lambda x: np.exp(np.minimum(x, 6) / 2) + x / 10,
    lambda x: x + x**3 / 3,
)
"""Strictly increasing maps."""


@dataclass(frozen=True)
class Augmentation:
    """Random augmentation of the tables of a batch.

    Raises:
        ValueError: a share outside [0, 1].
    """

    flipped: float = 0.5
    """Share of numeric columns whose sign is flipped."""
    mapped: float = 0.15
    """Share of numeric columns that are mapped by one of `MONOTONE_MAPS` and standardised again."""
    gapped: float = 0.15
    """Share of tables with cells missing completely at random."""
    most_missing: float = 0.2
    """Upper bound of the share of missing cells in such a table, which is drawn uniformly."""

    def __post_init__(self):
        for name, value in vars(self).items():
            if not 0 <= value <= 1:
                raise ValueError(f"{name} is a share from 0 to 1, not {value}")

    def __call__(self, rng: np.random.Generator, batch: Batch) -> Batch:
        """The batch with augmented tables; missing cells are NaN, also in columns with levels."""
        columns, numeric = batch.tables.swapaxes(1, 2).copy(), batch.levels == 0
        shape = numeric.shape
        which = np.where(numeric & (rng.random(shape) < self.mapped), rng.integers(len(MONOTONE_MAPS), size=shape), -1)
        for k, rising in enumerate(MONOTONE_MAPS):
            chosen = columns[which == k].astype(np.float64)
            columns[which == k] = standardised(rising(chosen))
        columns[numeric & (rng.random(shape) < self.flipped)] *= -1
        rate = np.where(rng.random(len(columns)) < self.gapped, rng.uniform(0, self.most_missing, len(columns)), 0.0)
        columns[rng.random(columns.shape, np.float32) < rate[:, None, None]] = np.nan
        return replace(batch, tables=np.ascontiguousarray(columns.swapaxes(1, 2)))


def fewer_rows(rng: np.random.Generator, batch: Batch, rows: int) -> Batch:
    """The batch with a random subset of the rows, the same for every table.

    Raises:
        BadInput: more rows than there are, or none.
    """
    if not 1 <= rows <= batch.tables.shape[1]:
        raise BadInput(f"{rows} rows cannot be taken of {batch.tables.shape[1]}; ask for 1 to {batch.tables.shape[1]}")
    order = rng.permutation(batch.tables.shape[1])[:rows]
    return replace(batch, tables=batch.tables[:, order])
