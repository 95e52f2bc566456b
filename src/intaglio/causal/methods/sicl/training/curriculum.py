"""`Curriculum`: sizes and distribution of the simulated training tables, as functions of seed and step."""

from dataclasses import dataclass

import numpy as np

from intaglio.causal.simulate.augment import Augmentation
from intaglio.causal.simulate.random_dags import FAMILY_SHARES
from intaglio.causal.simulate.recipe import Recipe

HELD_BACK = ("ws", "grg")
"""Families of graphs that are left out of training, to test generalisation on."""
SIZE_STREAM = 1
"""Index of the random stream that sizes are drawn from."""


@dataclass(frozen=True, kw_only=True)
class Curriculum:
    """The simulated tables of a training: sizes grow with the steps.

    Raises:
        ValueError: no sizes, or one below 2 columns or 10 rows; an unknown family of graphs.
    """

    columns: tuple[int, ...] = (2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50)
    """Numbers of columns; one is drawn per lot of steps."""
    early: int = 12
    """Most columns of tables in the first part of the training."""
    late: int = 25
    """Most columns of tables until the last part of the training."""
    parts: tuple[float, float] = (0.3, 0.8)
    """End of the first part and begin of the last one, as shares of the steps in (0, 1]."""
    rows: tuple[int, ...] = (50, 100, 200, 500, 1000, 2000, 5000)
    """Numbers of rows; one is drawn per lot of steps, of those that give at most `largest` cells."""
    largest: int = 60_000
    """Most cells (rows times columns) of one table."""
    context: int = 48
    """Rows that the network is given cell by cell."""
    cells: int = 3200
    """Pairs of columns per step: a step has this over the square of the columns tables, from 2 to `most`."""
    most: int = 64
    """Most tables per step."""
    lot: int = 6
    """Successive steps that share a size; their tables are simulated in one batch, which is fast."""
    held_back: tuple[str, ...] = HELD_BACK
    """Families of graphs that are left out of training."""

    def __post_init__(self):
        if not self.columns or min(self.columns) < 2 or not self.rows or min(self.rows) < 10:
            raise ValueError(f"a curriculum needs 2 columns and 10 rows or more, not {self.columns} and {self.rows}")
        for name in ("context", "cells", "most", "lot", "largest"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not 0 < self.parts[0] <= self.parts[1] <= 1:
            raise ValueError(f"parts are two rising shares of the steps, not {self.parts}")
        if unknown := sorted(set(self.held_back) - FAMILY_SHARES.keys()):
            raise ValueError(f"held_back has no family {unknown[0]!r}; there are {', '.join(FAMILY_SHARES)}")

    @property
    def recipe(self) -> Recipe:
        """The distribution of the tables: the simulator's default without the families that are held back."""
        return Recipe(families={name: share for name, share in FAMILY_SHARES.items() if name not in self.held_back})

    @property
    def augmentation(self) -> Augmentation:
        """The augmentation of the tables."""
        return Augmentation()

    def size(self, seed: int, lot: int, steps: int) -> tuple[int, int]:
        """(columns, rows) of the tables in one lot of steps."""
        done = lot * self.lot / steps
        most = self.early if done < self.parts[0] else self.late if done < self.parts[1] else max(self.columns)
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, SIZE_STREAM, lot])))
        columns = [d for d in self.columns if d <= most] or [min(self.columns)]
        weights = np.array(columns, np.float64) ** 0.5
        d = int(rng.choice(columns, p=weights / weights.sum()))
        rows = [n for n in self.rows if n * d <= self.largest] or [min(self.rows)]
        return d, int(rng.choice(rows))

    def count(self, columns: int) -> int:
        """Number of tables per step."""
        return int(np.clip(self.cells // columns**2, 2, self.most))
