"""What a network is shown at each step: sizes that grow, and tables drawn in lots, all as functions of (seed, step)."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from numpy import ndarray

from intaglio.causal import simulate
from intaglio.causal.batch import Batch
from intaglio.causal.disguise import Disguise
from intaglio.causal.encoding import BINARY, CONTINUOUS, NOMINAL, ORDINAL, Encoded, encode
from intaglio.causal.network import Truth
from intaglio.causal.priors import USUAL
from intaglio.causal.recipe import Recipe

HELD_BACK = ("ws", "grg")
"""Families of graphs that training never sees, so that there is something to test on."""
TABLES, SIZES = 0, 1
"""Streams of random numbers."""


def taught() -> Recipe:
    """The simulator's usual mixture without the families that are held back."""
    return Recipe(families={name: share for name, share in USUAL.items() if name not in HELD_BACK})


@dataclass(frozen=True)
class Curriculum:
    """Sizes of the tables over the course of a training.

    Raises:
        ValueError: no sizes, or one below 2 columns or 10 rows.
    """

    columns: tuple[int, ...] = (2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50)
    """Numbers of columns; one is drawn a lot."""
    early: int = 12
    """Most columns in the first part of the training."""
    late: int = 25
    """Most columns until the last part."""
    parts: tuple[float, float] = (0.3, 0.8)
    """Where the first part ends and the last begins, as shares of the steps."""
    rows: tuple[int, ...] = (50, 100, 200, 500, 1000, 2000, 5000)
    """Numbers of rows; one is drawn a lot, of those with at most `largest` cells."""
    largest: int = 60_000
    """Rows times columns of one table, at most."""
    context: int = 48
    """Rows that the network sees cell by cell."""
    cells: int = 3200
    """Pairs of columns in one step: tables a step are this over the square of the columns, from 2 to `most`."""
    most: int = 64
    """Tables a step."""
    lot: int = 6
    """Steps in a row that share a size; their tables are drawn at once, which is what makes the simulator fast."""
    recipe: Recipe = field(default_factory=taught)
    """What the tables are drawn from."""
    disguise: Disguise = field(default_factory=Disguise)
    """What is done to them without touching their graph."""

    def __post_init__(self):
        if not self.columns or min(self.columns) < 2 or not self.rows or min(self.rows) < 10:
            raise ValueError(f"a curriculum needs 2 columns and 10 rows or more, not {self.columns} and {self.rows}")
        for name in ("context", "cells", "most", "lot", "largest"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")

    def size(self, seed: int, lot: int, steps: int) -> tuple[int, int]:
        """Columns and rows of the tables in one lot."""
        done = lot * self.lot / steps
        most = self.early if done < self.parts[0] else self.late if done < self.parts[1] else max(self.columns)
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, SIZES, lot])))
        columns = [d for d in self.columns if d <= most] or [min(self.columns)]
        weights = np.array(columns, np.float64) ** 0.5
        d = int(rng.choice(columns, p=weights / weights.sum()))
        rows = [n for n in self.rows if n * d <= self.largest] or [min(self.rows)]
        return d, int(rng.choice(rows))

    def count(self, columns: int) -> int:
        """Tables a step."""
        return int(np.clip(self.cells // columns**2, 2, self.most))


class Lessons:
    """Tables and graphs of each step; the last lot is kept, all else can be drawn again."""

    def __init__(self, curriculum: Curriculum, seed: int, steps: int):
        self._curriculum, self._seed, self._steps = curriculum, seed, steps
        self._lot, self._drawn = -1, None

    def __call__(self, step: int) -> tuple[Encoded, Truth]:
        """What step `step` sees; tables that cannot be used are left out, at least one stays."""
        curriculum = self._curriculum
        lot, place = divmod(step, curriculum.lot)
        if lot != self._lot or self._drawn is None:
            d, n = curriculum.size(self._seed, lot, self._steps)
            rng = simulate.generator(self._seed, lot)
            batch = simulate.draw(curriculum.recipe, rng, curriculum.count(d) * curriculum.lot, d, n)
            self._lot, self._drawn = lot, curriculum.disguise(rng, batch)
        count = len(self._drawn) // curriculum.lot
        return lesson(part(self._drawn, slice(place * count, (place + 1) * count)), curriculum.context)


def part(batch: Batch, which: slice | ndarray) -> Batch:
    """Some tables of a batch."""
    names = ("tables", "adjacency", "levels", "ordered", "spread", "valid", "controlled")
    kinds = {
        name: tuple(np.array(getattr(batch, name), dtype=object)[which]) for name in ("family", "mechanism", "noise")
    }
    return replace(batch, **{name: getattr(batch, name)[which] for name in names}, **kinds)


def lesson(batch: Batch, context: int, *, precise: bool = False) -> tuple[Encoded, Truth]:
    """Usable tables of a batch as a network sees them, with their graphs; the first one where none is usable."""
    usable = np.flatnonzero(batch.valid & ~np.isnan(batch.tables).all(1).any(1))
    chosen = part(batch, usable if usable.size else np.arange(1))
    values = torch.from_numpy(np.nan_to_num(chosen.tables, nan=np.nan, posinf=0.0, neginf=0.0))
    encoded = encode(values.double() if precise else values, kinds_of(chosen), rows=slice(0, context))
    return encoded, Truth(torch.from_numpy(chosen.adjacency), torch.from_numpy(chosen.compelled))


def kinds_of(batch: Batch) -> torch.Tensor:
    """What kind each column is, [tables, columns]."""
    ordered = np.where(batch.ordered, ORDINAL, NOMINAL)
    return torch.from_numpy(np.where(batch.levels == 0, CONTINUOUS, np.where(batch.levels == 2, BINARY, ordered)))
