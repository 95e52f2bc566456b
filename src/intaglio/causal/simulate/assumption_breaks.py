"""Broken tables: simulated tables of known DAGs that contradict an assumption of causal discovery, in wide ranges.

The strength of each break reaches from hardly noticeable to extreme. A share of each family keeps the assumption, with
everything else alike, so that who learns from them learns the break and not the kind of table.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.signal import lfilter
from scipy.special import expit

from intaglio.causal.graphs.graph import Graph
from intaglio.causal.simulate import random_dags
from intaglio.causal.simulate.mechanisms import standardised
from intaglio.causal.tables.column import MAX_ORDINAL_VALUES, ColumnKind
from intaglio.errors import BadInput

Adjacency = Bool[ndarray, "d d"]
Kinds = tuple[ColumnKind, ...]
Rows = tuple[Float[ndarray, "n d"], Kinds]
"""Values of the columns, and their kinds."""
GRAPHS = {"er": 0.3, "sparse": 0.3, "sf": 0.1, "sf-transposed": 0.1, "tree": 0.1, "empty": 0.1}
"""Shares of the families of DAGs, by their names in `random_dags.FAMILIES`."""
MOST_PARENTS = 4
SOUND_SHARE = 0.2
"""Share of the tables of each family that keep the assumption."""
BURN_IN = 200
"""Rows before the first one, so that series do not start at 0."""
LEAST_COLUMNS, LEAST_ROWS, LEAST_KNOWN = 3, 50, 10
"""Fewest columns and rows of a table, and fewest known cells of a column."""
LARGEST_CORRELATION = 0.999
"""Absolute correlation from which two columns count as copies."""
MOST_DRAWS = 100
"""Draws of a table with a constant column, a copy or a column without a value, before its size is refused."""


@dataclass(frozen=True, eq=False)
class BrokenTable:
    """A simulated table and its DAG."""

    values: Float[ndarray, "n d"]
    """Numbers and codes of levels from 0; NaN where missing."""
    kinds: Kinds
    adjacency: Adjacency
    """[i, j]: i → j."""
    family: str
    """Name of the family in `FAMILIES`."""

    @property
    def graph(self) -> Graph:
        """The DAG over columns named x0, x1, …"""
        return Graph.from_adjacency("DAG", self.adjacency, tuple(f"x{k}" for k in range(len(self.kinds))))


def draw_broken_table(family: str, rng: np.random.Generator, columns: int, rows: int) -> BrokenTable:
    """A random table of one family, its columns in a random order.

    Args:
        family: name in `FAMILIES`.
        rng: source of all randomness; the same state gives the same table.
        columns: number of columns, 3 or more.
        rows: number of rows, 50 or more.

    Raises:
        BadInput: an unknown family, too few columns or rows, or no table in which all columns vary.
    """
    if family not in FAMILIES:
        raise BadInput(f"{family!r} is no family of broken tables; there are {', '.join(FAMILIES)}")
    if columns < LEAST_COLUMNS or rows < LEAST_ROWS:
        raise BadInput(
            f"{columns} columns and {rows} rows are too few for a broken table; ask for {LEAST_COLUMNS} columns and "
            f"{LEAST_ROWS} rows or more"
        )
    for _ in range(MOST_DRAWS):
        made = random_dags.mixture(rng, 1, columns, GRAPHS, MOST_PARENTS)[0][0]
        values, kinds = FAMILIES[family](rng, made, rows)
        if _usable(values):
            order = rng.permutation(columns)
            coded, shown = _recoded(values[:, order], [kinds[k] for k in order])
            return BrokenTable(coded, shown, made[np.ix_(order, order)], family)
    raise BadInput(f"{family} gives no table of {rows} rows in which all {columns} columns vary; ask for more rows")


def serial(rng: np.random.Generator, made: Adjacency, rows: int) -> Rows:
    """Rows that depend on those before: each variable has a memory of its own, a walk, a season, a group or a trend."""
    d = len(made)
    way = str(rng.choice(["noise", "past", "walk", "season", "groups", "trend"], p=[0.4, 0.2, 0.1, 0.1, 0.15, 0.05]))
    noise = rng.standard_normal((d, rows + BURN_IN))
    touched = rng.random(d) < rng.uniform(0.4, 1.0)
    strength = np.where(touched, rng.uniform(0.1, 1.0), 0.0) * np.where(rng.random(d) < 0.5, 1.0, rng.random(d))
    if rng.random() < SOUND_SHARE:
        strength[:] = 0
    if way == "past":
        return _numbers(_effects(rng, made, noise, own_past=0.9 * strength)[:, BURN_IN:])
    noise = _with_memory(rng, way, noise, strength)[:, BURN_IN:]
    return _numbers(_effects(rng, made, standardised(noise)))


def _with_memory(
    rng: np.random.Generator, way: str, noise: Float[ndarray, "d n"], strength: Float[ndarray, "d"]
) -> Float[ndarray, "d n"]:
    (d, n), size = noise.shape, strength[:, None]
    time = np.arange(n)
    if way == "noise":
        sign = -1.0 if rng.random() < 0.1 else 1.0
        pairs = zip(noise, strength, strict=True)
        return np.stack([lfilter([1.0], [1.0, -sign * min(0.98, r)], steps) for steps, r in pairs])
    if way == "walk":
        return noise + 0.3 * size * np.cumsum(rng.standard_normal(noise.shape), 1)
    if way == "season":
        return noise + 2 * size * np.sin(2 * np.pi * (time / rng.choice([7, 12, 24, 52]) + rng.random((d, 1))))
    if way == "groups":
        group = time // rng.integers(3, 60)
        return noise + 1.5 * size * rng.standard_normal((d, int(group.max()) + 1))[:, group]
    return noise + 3 * size * time / n * rng.choice([-1.0, 1.0], (d, 1))


def repeated(rng: np.random.Generator, made: Adjacency, rows: int) -> Rows:
    """Rows that are given again: each as often, drawn with replacement, or more often where one column is high."""
    if rng.random() < SOUND_SHARE:
        return _independent(rng, made, rows)
    distinct = max(20, int(rows / rng.uniform(1.2, 8.0)))
    values, kinds = _independent(rng, made, distinct)
    way = rng.choice(["each", "drawn", "chosen"])
    if way == "each":
        index = np.resize(np.arange(distinct), rows)
    elif way == "drawn":
        index = rng.integers(distinct, size=rows)
    else:
        pull = np.exp(rng.uniform(0.5, 1.5) * standardised(values[:, rng.integers(len(made))]))
        index = rng.choice(distinct, rows, p=pull / pull.sum())
    return values[index if rng.random() < 0.5 else np.sort(index)], kinds


def near_repeats(rng: np.random.Generator, made: Adjacency, rows: int) -> Rows:
    """Rows that are given again with other last digits, with noise in every number, or with a new value beside."""
    values, kinds = repeated(rng, made, rows)
    way = rng.choice(["digits", "noise", "new"], p=[0.3, 0.4, 0.3])
    alone = np.flatnonzero(~(made.any(0) | made.any(1)))
    if way == "new" and len(alone):
        for k in alone[: int(rng.integers(1, 3))]:
            values[:, k] = rng.permutation(_noise(rng, 1, rows)[0])
            kinds = (*kinds[:k], "continuous", *kinds[k + 1 :])
        return values, kinds
    size = np.exp(rng.uniform(*np.log([0.005, 0.3]))) if way == "noise" else 10 ** rng.uniform(-12, -7)
    numbers = np.array([kind == "continuous" for kind in kinds])
    return values + size * values.std(0) * numbers * rng.standard_normal(values.shape), kinds


def trends(rng: np.random.Generator, made: Adjacency, rows: int) -> Rows:
    """A trend or two over the rows, of many columns, as causes or added to each: lines, curves, slow waves, steps."""
    d, many = len(made), 1 if rng.random() < 0.75 else 2
    size = 0.0 if rng.random() < SOUND_SHARE else np.exp(rng.uniform(*np.log([0.1, 4.0])))
    loading = size * rng.uniform(0.3, 1.5, (d, many)) * (rng.random((d, many)) < rng.uniform(0.5, 1.3))
    if rng.random() < 0.7:
        loading *= rng.choice([-1.0, 1.0], (d, many))
    shared = loading @ standardised(np.stack([_trend(rng, rows) for _ in range(many)]))
    noise, levels = _noise(rng, d, rows), rng.choice([0.0, 0.5, 1.0], p=[0.5, 0.3, 0.2])
    if rng.random() < 0.3:
        return _with_levels(rng, _effects(rng, made, noise + shared), levels)
    return _with_levels(rng, standardised(_effects(rng, made, noise)) + shared, levels)


def _trend(rng: np.random.Generator, rows: int) -> Float[ndarray, "n"]:
    way, time = rng.choice(["line", "curve", "wave", "steps"]), np.linspace(-1, 1, rows)
    if way == "curve":
        return np.polynomial.Polynomial(rng.standard_normal(4))(time) + 0.1 * time
    if way == "wave":
        return np.sin(np.pi * rng.uniform(0.5, 6.0) * time + 2 * np.pi * rng.random())
    if way == "steps":
        places = np.sort(rng.uniform(-0.9, 0.9, int(rng.integers(1, 7))))
        return rng.standard_normal(len(places) + 1)[np.searchsorted(places, time)]
    return time


def gaps(rng: np.random.Generator, made: Adjacency, rows: int) -> Rows:
    """Cells that are missing where another column is high, low or unusual, in one to three groups of columns."""
    d = len(made)
    values, kinds = _independent(rng, made, rows)
    found, order, sound = values.copy(), rng.permutation(d), rng.random() < SOUND_SHARE
    for group in range(int(rng.integers(1, 4))):
        driver = order[group % d]
        whole = [k for k in order[3:] if not np.isnan(found[:, k]).any()] or [k for k in order if k != driver][:1]
        chosen = rng.choice(whole, min(len(whole), int(rng.integers(1, 4))), replace=False)
        score = standardised(values[:, driver]) * rng.choice([-1.0, 1.0])
        score = np.abs(score) if rng.random() < 0.15 else score
        score = rng.standard_normal(rows) if sound else score
        sharpness, share = rng.choice([1.0, 3.0, 30.0]), rng.uniform(0.1, 0.6)
        gap = expit(sharpness * (score - np.quantile(score, 1 - share))) > rng.random(rows)
        found[np.ix_(gap, chosen)] = np.nan
    return found, kinds


def factor(rng: np.random.Generator, made: Adjacency, rows: int) -> Rows:
    """A hidden cause or two of many columns: of their values, of their spread, a batch, or the depth of counts."""
    d, many = len(made), 1 if rng.random() < 0.75 else 2
    hidden = rng.standard_normal((many, rows))
    if rng.random() < 0.25:
        hidden = np.floor(rng.integers(2, 5) * rng.random((many, rows)))
    size = 0.0 if rng.random() < SOUND_SHARE else rng.uniform(0.1, 1.2)
    loading = size * rng.uniform(0.5, 1.5, (d, many)) * (rng.random((d, many)) < rng.uniform(0.6, 1.2))
    if rng.random() < 0.5:
        loading *= rng.choice([-1.0, 1.0], (d, many))
    noise, shared = _noise(rng, d, rows), loading @ standardised(hidden)
    way = rng.choice(["cause", "offset", "spread", "counts"], p=[0.4, 0.25, 0.15, 0.2])
    if way == "counts":
        rate = np.exp(rng.uniform(0.3, 0.8) * standardised(_effects(rng, made, noise)) + 0.5 * shared)
        return _numbers(rng.poisson(np.minimum(rng.uniform(2, 40, (d, 1)) * rate, 1e6)).astype(np.float64))
    if way == "cause":
        return _numbers(_effects(rng, made, noise + shared))
    if way == "spread":
        return _numbers(_effects(rng, made, noise * np.exp(0.6 * shared)))
    return _with_levels(rng, standardised(_effects(rng, made, noise)) + shared)


def cells(rng: np.random.Generator, made: Adjacency, rows: int) -> Rows:
    """Counts of genes: cell types with levels of their own, a depth, more spread than Poisson's, and dropped zeros."""
    d, sound = len(made), rng.random() < SOUND_SHARE
    types = 1 if sound else int(rng.integers(1, 8))
    label = rng.choice(types, rows, p=rng.dirichlet(np.full(types, 2.0)))
    marked = rng.random((d, types)) < rng.uniform(0.2, 1.0)
    shift = rng.uniform(0.3, 2.0) * rng.standard_normal((d, types)) * marked
    noise = _noise(rng, d, rows) + (shift[:, label] if types > 1 else 0.0)
    log_rate = rng.uniform(0.3, 1.2) * standardised(_effects(rng, made, noise)) + rng.uniform(-1.5, 3, (d, 1))
    depth = 0.0 if sound else rng.choice([0.0, 0.1, 0.3, 0.6]) * rng.standard_normal(rows)
    rate = np.exp(np.minimum(log_rate + depth, 10))
    if rng.random() < 0.5:
        shape = rng.uniform(0.5, 10)
        rate = rate * rng.gamma(shape, 1 / shape, rate.shape)
    counts = rng.poisson(rate).astype(np.float64)
    counts[rng.random(counts.shape) < rng.choice([0.0, 0.1, 0.3, 0.5])] = 0
    form = rng.choice(["counts", "log", "share"], p=[0.4, 0.4, 0.2])
    if form == "log":
        counts = np.log1p(counts)
    elif form == "share":
        counts = np.log1p(1e3 * counts / np.maximum(counts.sum(0), 1))
    kinds: list[ColumnKind] = ["ordinal" if len(np.unique(x)) <= MAX_ORDINAL_VALUES else "continuous" for x in counts]
    return counts.T, tuple(kinds)


def rare(rng: np.random.Generator, made: Adjacency, rows: int) -> Rows:
    """Events: each happens by itself or through any of its causes (a noisy OR), and rarely without a cause."""
    d = len(made)
    alone = np.exp(rng.uniform(np.log(0.002), np.log(0.05), d))
    if rng.random() < SOUND_SHARE:
        alone = rng.uniform(0.1, 0.5, d)
    else:
        alone = np.where(rng.random(d) < rng.uniform(0, 0.5), rng.uniform(0.05, 0.5, d), alone)
    alone = np.where(made.any(0), alone * rng.uniform(0.02, 1.0), alone)
    works = rng.uniform(0.2, 0.98, (d, d)) * made
    values = np.zeros((d, rows))
    for j in range(d):
        stays_away = (1 - alone[j]) * np.prod(1 - works[:, j, None] * values, axis=0)
        values[j] = rng.random(rows) > stays_away
    kinds: list[ColumnKind] = ["binary"] * d
    return values.T, tuple(kinds)


FAMILIES: dict[str, Callable[[np.random.Generator, Adjacency, int], Rows]] = {
    "serial": serial,
    "repeated": repeated,
    "near-repeats": near_repeats,
    "trends": trends,
    "gaps": gaps,
    "factor": factor,
    "cells": cells,
    "rare": rare,
}
"""Families by name; each takes a DAG in causal order and gives rows of its variables."""


def _numbers(values: Float[ndarray, "d n"]) -> Rows:
    kinds: list[ColumnKind] = ["continuous"] * len(values)
    return values.T, tuple(kinds)


def _noise(rng: np.random.Generator, d: int, rows: int) -> Float[ndarray, "d n"]:
    """Independent noise of mean 0 and variance 1, of one law a table."""
    law = rng.choice(["gaussian", "laplace", "uniform", "skewed"], p=[0.55, 0.15, 0.15, 0.15])
    if law == "laplace":
        return rng.laplace(scale=np.sqrt(0.5), size=(d, rows))
    if law == "uniform":
        return rng.uniform(-np.sqrt(3), np.sqrt(3), (d, rows))
    return rng.standard_exponential((d, rows)) - 1 if law == "skewed" else rng.standard_normal((d, rows))


def _effects(
    rng: np.random.Generator, made: Adjacency, noise: Float[ndarray, "d n"], own_past: Float[ndarray, "d"] | None = None
) -> Float[ndarray, "d n"]:
    """Variables in causal order: noise plus a weighted sum over parents of lines, curves or waves, and their own past.

    `own_past` is the weight of a variable's last value.
    """
    found = np.zeros_like(noise)
    shapes = ((0, 1), (1, 2), (1, 4))[int(rng.choice(3, p=[0.5, 0.2, 0.3]))]
    size = rng.choice([0.3, 0.7, 1.2])
    for j in range(len(made)):
        found[j] = noise[j]
        for i in np.flatnonzero(made[:, j]):
            x = standardised(found[i])
            effect = (x, np.tanh(1.5 * x), standardised(x**2 / 3 + x), np.sin(1.5 * x))[int(rng.integers(*shapes))]
            found[j] += rng.choice([-1.0, 1.0]) * size * rng.uniform(0.5, 1.5) * effect
        if own_past is not None and own_past[j]:
            found[j] = lfilter([1.0], [1.0, -own_past[j]], found[j])
    return found


def _independent(rng: np.random.Generator, made: Adjacency, rows: int) -> Rows:
    """Independent rows of numbers, or of numbers and levels."""
    return _with_levels(rng, _effects(rng, made, _noise(rng, len(made), rows)))


def _with_levels(rng: np.random.Generator, numbers: Float[ndarray, "d n"], chance: float = 0.3) -> Rows:
    """The variables as columns; by that chance some are cut to levels and two at least stay numbers, by 1 none does."""
    d, found = len(numbers), numbers.copy()
    kinds: list[ColumnKind] = ["continuous"] * d
    if rng.random() < chance:
        many = d if chance == 1 else int(rng.integers(1, max(2, d - 1)))
        for k in rng.permutation(d)[:many]:
            levels = int(rng.integers(2, 5))
            cuts = np.quantile(numbers[k], np.sort(rng.uniform(0.1, 0.9, levels - 1)))
            found[k], kinds[k] = np.searchsorted(cuts, numbers[k]), "binary" if levels == 2 else "ordinal"
    return found.T, tuple(kinds)


def _usable(values: Float[ndarray, "n d"]) -> bool:
    """Whether all columns vary, have known cells and finite numbers, and none is a copy of another."""
    known = [column[~np.isnan(column)] for column in values.T]
    if not all(len(one) >= LEAST_KNOWN and (one != one[0]).any() and np.isfinite(one).all() for one in known):
        return False
    filled = np.stack([np.nan_to_num(column, nan=one.mean()) for column, one in zip(values.T, known, strict=True)])
    return bool((np.abs(np.corrcoef(filled) - np.eye(len(filled))) < LARGEST_CORRELATION).all())


def _recoded(values: Float[ndarray, "n d"], kinds: list[ColumnKind]) -> Rows:
    """Codes of levels counted from 0 without gaps, and two levels as a binary column, as `Table` has them."""
    found, shown = values.copy(), list(kinds)
    for k, kind in enumerate(kinds):
        if kind != "continuous":
            known = ~np.isnan(values[:, k])
            levels, found[known, k] = np.unique(values[known, k], return_inverse=True)
            shown[k] = "binary" if len(levels) == 2 else "ordinal"
    return found, tuple(shown)
