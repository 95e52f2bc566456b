"""Training batches: encoded simulated tables with their graphs, as a function of seed and step."""

from dataclasses import replace

import numpy as np
import torch
from numpy import ndarray

from intaglio.causal.methods.sicl.networks.base import TrueGraphs
from intaglio.causal.methods.sicl.networks.encoding import BINARY, CONTINUOUS, NOMINAL, ORDINAL, Encoded, encode
from intaglio.causal.methods.sicl.training.curriculum import Curriculum
from intaglio.causal.simulate import simulator
from intaglio.causal.simulate.batch import Batch
from intaglio.randomness import numpy_generator


class TrainingBatches:
    """The batch of each training step; batches depend only on (seed, step), and the last lot of steps is cached."""

    def __init__(self, curriculum: Curriculum, seed: int, steps: int):
        self._curriculum, self._seed, self._steps = curriculum, seed, steps
        self._lot, self._drawn = -1, None

    def __call__(self, step: int) -> tuple[Encoded, TrueGraphs]:
        """The batch of one step, counted from 0; unusable tables are left out, at least one stays."""
        curriculum = self._curriculum
        lot, index = divmod(step, curriculum.lot)
        if lot != self._lot or self._drawn is None:
            d, n = curriculum.size(self._seed, lot, self._steps)
            rng = numpy_generator(self._seed, lot)
            batch = simulator.draw(curriculum.recipe, rng, curriculum.count(d) * curriculum.lot, d, n)
            self._lot, self._drawn = lot, curriculum.augmentation(rng, batch)
        count = len(self._drawn) // curriculum.lot
        return encoded_batch(select_tables(self._drawn, slice(index * count, (index + 1) * count)), curriculum.context)


def select_tables(batch: Batch, which: slice | ndarray) -> Batch:
    """The batch of some of its tables."""
    names = ("tables", "adjacency", "levels", "ordered", "spread", "valid", "controlled")
    kinds = {
        name: tuple(np.array(getattr(batch, name), dtype=object)[which]) for name in ("family", "mechanism", "noise")
    }
    return replace(batch, **{name: getattr(batch, name)[which] for name in names}, **kinds)


def encoded_batch(batch: Batch, context: int, *, precise: bool = False) -> tuple[Encoded, TrueGraphs]:
    """The usable tables of a batch, encoded, with their graphs; the first table where none is usable.

    Args:
        batch: simulated tables.
        context: rows that are given cell by cell.
        precise: compute statistics in double precision.
    """
    kept = usable_indices(batch)
    chosen = select_tables(batch, kept if kept.size else np.arange(1))
    values = torch.from_numpy(np.nan_to_num(chosen.tables, nan=np.nan, posinf=0.0, neginf=0.0))
    encoded = encode(values.double() if precise else values, column_kinds(chosen), rows=slice(0, context))
    return encoded, TrueGraphs(torch.from_numpy(chosen.adjacency), torch.from_numpy(chosen.compelled))


def usable_indices(batch: Batch) -> ndarray:
    """Indices of the tables that are valid and have a known value in every column."""
    blank = (np.isnan(batch.tables).mean(axis=1) == 1).max(axis=1)
    return np.flatnonzero(batch.valid & ~blank)


def column_kinds(batch: Batch) -> torch.Tensor:
    """Kinds of the columns [tables, columns], as codes of `encoding`."""
    ordered = np.where(batch.ordered, ORDINAL, NOMINAL)
    return torch.from_numpy(np.where(batch.levels == 0, CONTINUOUS, np.where(batch.levels == 2, BINARY, ordered)))
