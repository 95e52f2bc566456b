"""`Batch`: simulated tables of one size with their DAGs, how they were drawn, and whether they are usable."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Float32, Int
from numpy import ndarray

from intaglio.causal.graphs import meek
from intaglio.causal.graphs.graph import Graph
from intaglio.causal.simulate.sortability import alignment, r2

MIN_SD = 1e-6
"""Standard deviation below which a column counts as constant."""
MAX_CORRELATION = 0.999
"""Absolute correlation above which two columns count as copies."""


@dataclass(frozen=True)
class Batch:
    """Simulated tables of one size."""

    tables: Float32[ndarray, "b n d"]
    """Numbers, standardised unless `Recipe.standardise` is off; codes from 0 where a column has levels."""
    adjacency: Bool[ndarray, "b d d"]
    """[k, i, j]: i → j in table k's DAG."""
    levels: Int[ndarray, "b d"]
    """Number of levels of each column; 0 for numbers."""
    ordered: Bool[ndarray, "b d"]
    """Whether a column has ordered levels."""
    spread: Float[ndarray, "b d"]
    """Standard deviation of each column before standardisation."""
    valid: Bool[ndarray, "b"]
    """False for tables to leave out: a value is not finite, a column is constant, or two are copies (|ρ| > 0.999)."""
    controlled: Bool[ndarray, "b"]
    """Whether all numeric variables of a table have unit variance."""
    family: tuple[str, ...]
    """Family of each table's graph."""
    mechanism: tuple[str, ...]
    """Mechanism of each table."""
    noise: tuple[str, ...]
    """Family of noise of each table."""

    def __len__(self) -> int:
        return len(self.tables)

    @cached_property
    def compelled(self) -> Bool[ndarray, "b d d"]:
        """The directed edges of each table's CPDAG."""
        return meek.cpdag_of(self.adjacency)[0]

    @cached_property
    def varsortability(self) -> Float[ndarray, "b"]:
        """Varsortability of the numbers before standardisation; NaN without a path between two (arXiv 2102.13647)."""
        return alignment(self.adjacency, np.where(self.levels == 0, self.spread**2, np.nan))

    @cached_property
    def r2_sortability(self) -> Float[ndarray, "b"]:
        """R²-sortability of the numbers; NaN without a path between two (arXiv 2303.18211)."""
        return alignment(self.adjacency, np.where(self.levels == 0, r2(self.tables), np.nan), tolerance=1e-6)

    def graph(self, table: int) -> Graph:
        """The DAG of one table, over the names x0, x1, …"""
        return Graph.from_adjacency("DAG", self.adjacency[table])

    def report(self) -> dict[str, float]:
        """Share of valid tables, and their mean edges per variable and sortabilities, raw and controlled."""
        raw, even = self.valid & ~self.controlled, self.valid & self.controlled
        return {
            "valid": float(self.valid.mean()),
            "edges a variable": float(
                self.adjacency[self.valid].sum() / max(1, self.valid.sum() * len(self.levels[0]))
            ),
            "varsortability, raw": _mean(self.varsortability[raw]),
            "varsortability, controlled": _mean(self.varsortability[even]),
            "R²-sortability, raw": _mean(self.r2_sortability[raw]),
            "R²-sortability, controlled": _mean(self.r2_sortability[even]),
        }


def _mean(values: Float[ndarray, "k"]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")


def finish_batch(
    values: Float[ndarray, "b d n"],
    made: Bool[ndarray, "b d d"],
    levels: Int[ndarray, "b d"],
    ordered: Bool[ndarray, "b d"],
    order: Int[ndarray, "b d"],
    kinds: dict[str, list[str]],
    controlled: Bool[ndarray, "b"],
    standardise: bool,
) -> Batch:
    """The batch with columns in their new order (column k is variable order[k]), checked, standardised if asked."""
    rows_of_batch = np.arange(len(values))[:, None]
    values, levels, ordered = values[rows_of_batch, order], levels[rows_of_batch, order], ordered[rows_of_batch, order]
    made = made[rows_of_batch[..., None], order[:, :, None], order[:, None, :]]
    with np.errstate(all="ignore"):
        centred = values - values.mean(-1, keepdims=True)
        spread = np.sqrt((centred**2).mean(-1))
        scaled = (centred / np.where(spread > 0, spread, 1.0)[..., None]).astype(np.float32)
        valid = _usable(scaled, spread)
        tables = np.where((levels == 0)[..., None] & standardise, scaled, values).astype(np.float32)
    family, mechanism, noise = (tuple(kinds[name]) for name in ("family", "mechanism", "noise"))
    tables = np.ascontiguousarray(tables.swapaxes(1, 2))
    return Batch(tables, made, levels, ordered, spread, valid, controlled, family, mechanism, noise)


def _usable(scaled: Float32[ndarray, "b d n"], spread: Float[ndarray, "b d"]) -> Bool[ndarray, "b"]:
    correlation = np.abs(scaled @ scaled.swapaxes(1, 2) / scaled.shape[2])
    diagonal = np.arange(scaled.shape[1])
    correlation[:, diagonal, diagonal] = 0.0
    finite = np.isfinite(spread).all(1) & np.isfinite(correlation).all((1, 2))
    return finite & (spread > MIN_SD).all(1) & (correlation.max((1, 2)) <= MAX_CORRELATION)
