"""The tables of `intaglio bench discover` with their true graphs: simulated, from published networks, Sachs, broken."""

import csv
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from intaglio.bench.discover.broken_tables import BROKEN_FAMILIES, checked_families, twin_tables
from intaglio.bench.discover.published_networks import BayesianNetwork, published
from intaglio.causal.graphs.graph import Graph
from intaglio.causal.methods.sicl.training.curriculum import HELD_BACK
from intaglio.causal.simulate import random_dags
from intaglio.causal.simulate.batch import Batch
from intaglio.causal.simulate.mechanisms import standardised
from intaglio.causal.simulate.recipe import Recipe
from intaglio.causal.simulate.simulator import draw, tables_of
from intaglio.causal.simulate.sortability import r2_sortability, varsortability
from intaglio.causal.tables.column import ColumnKind
from intaglio.errors import BadInput
from intaglio.randomness import numpy_generator

SuiteName = Literal["simulated", "bnlearn", "gaussian", "sachs", "broken"]
FIRST_SEED = 10_000_000
"""Offset of the bench's seeds; trainings use smaller ones."""
UNSEEN_FAMILIES = (*HELD_BACK, "parts")
"""Families of graphs that the shipped networks were not trained on."""
PARTS_OF = "arth150"
"""The network that the family `parts` is cut from: 107 variables, 150 edges."""
LAW_MECHANISMS = {"linear": "linear", "rff": "fourier"}
MAX_DRAWS = 100
"""Attempts to simulate a usable table."""
SOUND = "-sound"
"""End of the law of a sound twin, after the variant that it is the twin of."""
FIRST_CONDITION_ROWS = 853
"""Rows of Sachs's first condition."""
PROTEIN_NAMES = {
    "praf": "Raf",
    "pmek": "Mek",
    "plcg": "Plcg",
    "pip2": "PIP2",
    "pip3": "PIP3",
    "p44/42": "Erk",
    "pakts473": "Akt",
    "pka": "PKA",
    "pkc": "PKC",
    "p38": "P38",
    "pjnk": "Jnk",
}
"""Names of the variables in the graph by names of columns in the measurements."""


@dataclass(frozen=True, eq=False)
class BenchTable:
    """A table as a method is given it."""

    names: tuple[str, ...]
    values: Float[ndarray, "n d"]
    """Standardised numbers, or codes of levels from 0; where `kinds` are given numbers as measured, NaN for a gap."""
    discrete: bool
    """Whether all columns hold levels."""
    spread: Float[ndarray, "d"]
    """Standard deviation of each column before standardisation; a `raw` entry is given values times this."""
    kinds: Mapping[str, ColumnKind] | None = None
    """Kinds of the columns that hold levels, by name, of a table as measured; None where all columns hold standardised
    numbers, or all hold levels."""


@dataclass(frozen=True)
class Cell:
    """Tables of one suite, source, law and size."""

    suite: SuiteName
    source: str
    """A family of graphs or of broken tables, or the name of a network."""
    law: str
    """`linear` or `rff` mechanisms; `cpt` or `gaussian` for a network; `raw` or `log` for measurements; the variant of
    a broken table, with `SOUND` after it for its twin."""
    variables: int
    rows: int
    tables: int

    @property
    def key(self) -> str:
        """Name of the cell."""
        return f"{self.suite} {self.source} {self.law} d{self.variables} n{self.rows}"

    @property
    def seen(self) -> bool | None:
        """Whether the shipped networks were trained on this family of graphs; None for other suites."""
        return self.source not in UNSEEN_FAMILIES if self.suite == "simulated" else None

    @property
    def sound(self) -> bool | None:
        """Whether this is the sound twin of a broken table; None for other suites."""
        return self.law.endswith(SOUND) if self.suite == "broken" else None


@dataclass(frozen=True, eq=False)
class Task:
    """One table, its true CPDAG, and how far variances and R² reveal the causal order."""

    key: str
    cell: Cell
    table: BenchTable
    truth: Graph
    """A CPDAG."""
    varsortability: float
    """Varsortability in [0, 1] of the numbers before standardisation; NaN for levels."""
    r2_sortability: float
    """R²-sortability in [0, 1]; NaN for levels."""


def simulated(
    families: Sequence[str], laws: Sequence[str], sizes: Sequence[int], rows: Sequence[int], tables: int
) -> list[Cell]:
    """Cells of simulated tables, one for each combination."""
    if unknown := [name for name in families if name not in random_dags.FAMILIES and name != "parts"]:
        known = ", ".join([*random_dags.FAMILIES, "parts"])
        raise BadInput(f"there is no family of graphs called {unknown[0]!r}; choose from: {known}")
    return [Cell("simulated", f, law, d, n, tables) for f in families for law in laws for d in sizes for n in rows]


def broken(families: Sequence[str], sizes: Sequence[int], rows: Sequence[int], tables: int) -> list[Cell]:
    """Cells of broken tables, one for each variant of the families and each size, each beside that of its twins."""
    laws = [(f, v + end) for f in checked_families(families) for v in BROKEN_FAMILIES[f] for end in ("", SOUND)]
    return [Cell("broken", family, law, d, n, tables) for family, law in laws for d in sizes for n in rows]


def networks(names: Sequence[str], suite: SuiteName, rows: Sequence[int], tables: int) -> list[Cell]:
    """Cells of published networks at several numbers of rows."""
    found = []
    for name in names:
        network = published(name)
        law = "cpt" if network.discrete else "gaussian"
        found += [Cell(suite, name, law, len(network.names), n, tables) for n in rows]
    return found


def tasks(cell: Cell, seed: int, noise: str, csv_path: Path | None = None) -> Iterator[Task]:
    """The tables of a cell; each depends only on the seed, the cell's name and its number."""
    for number in range(cell.tables):
        key = f"{cell.key} #{number}"
        if cell.suite == "simulated":
            yield _simulated(cell, key, seed, noise)
        elif cell.suite == "broken":
            yield _broken(cell, key, seed)
        elif csv_path is not None and cell.law in ("raw", "log"):
            yield _measured(cell, key, csv_path)
        else:
            yield _sampled(cell, key, seed)


def recipe(law: str, family: str, noise: str) -> Recipe:
    """A recipe of numeric tables with one family and mechanism, half of them with every variable at unit variance."""
    families = {} if family == "parts" else {"families": {family: 1.0}}
    noises = {"noises": {"gaussian": 1.0}} if noise == "gaussian" else {}
    plain = {"types": {"continuous": 1.0}, "heteroscedastic": 0.0, "interactions": 0.0}
    return Recipe(mechanisms={LAW_MECHANISMS[law]: 1.0}, **families, **noises, **plain)


def _simulated(cell: Cell, key: str, seed: int, noise: str) -> Task:
    """The first usable table of the task's own random stream."""
    for attempt in range(MAX_DRAWS):
        rng = numpy_generator(FIRST_SEED + seed, zlib.crc32(f"{key} {attempt}".encode()))
        batch = _drawn(cell, noise, rng)
        if batch.valid[0]:
            names = tuple(f"x{k}" for k in range(cell.variables))
            table = BenchTable(names, batch.tables[0].astype(np.float64), False, batch.spread[0])
            truth = Graph.from_adjacency("DAG", batch.adjacency[0], names).cpdag()
            return Task(key, cell, table, truth, float(batch.varsortability[0]), float(batch.r2_sortability[0]))
    raise BadInput(f"no usable table of {cell.key} in {MAX_DRAWS} draws; ask for more rows")


def _broken(cell: Cell, key: str, seed: int) -> Task:
    """The first usable pair of twins of the task's random stream, which is that of the twin's task too."""
    variant, stream = cell.law.removesuffix(SOUND), key.replace(f"{SOUND} ", " ")
    for attempt in range(MAX_DRAWS):
        rng = numpy_generator(FIRST_SEED + seed, zlib.crc32(f"{stream} {attempt}".encode()))
        made = twin_tables(cell.source, variant, rng, cell.variables, cell.rows)
        if made.usable:
            values = made.sound if cell.sound else made.broken
            names = made.graph.names
            kinds = None if made.discrete else dict(made.kinds)
            table = BenchTable(names, values, made.discrete, np.ones(len(names)), kinds)
            return Task(key, cell, table, made.graph.cpdag(), *_sortabilities(made.graph, table))
    raise BadInput(f"no usable table of {cell.key} in {MAX_DRAWS} draws; ask for more rows")


def _sortabilities(dag: Graph, table: BenchTable) -> tuple[float, float]:
    """Varsortability and R²-sortability of the rows without gaps; NaN for levels."""
    if table.discrete:
        return float("nan"), float("nan")
    whole = table.values[~np.isnan(table.values).any(1)] * table.spread
    by_variance, by_r2 = (float(f(dag.directed[None], whole[None])[0]) for f in (varsortability, r2_sortability))
    return by_variance, by_r2


def _drawn(cell: Cell, noise: str, rng: np.random.Generator) -> Batch:
    made = recipe(cell.law, cell.source, noise)
    if cell.source != "parts":
        return draw(made, rng, 1, cell.variables, cell.rows)
    whole = _network(PARTS_OF).graph.directed
    part = random_dags.sub_graphs(rng, 1, cell.variables, whole)[0]
    order = rng.permutation(cell.variables)
    return tables_of(made, rng, Graph.from_adjacency("DAG", part[np.ix_(order, order)]), 1, cell.rows)


def _sampled(cell: Cell, key: str, seed: int) -> Task:
    network = _network(cell.source)
    rng = numpy_generator(FIRST_SEED + seed, zlib.crc32(key.encode()))
    order = rng.permutation(len(network.names))
    values = network.sample(rng, cell.rows)[:, order]
    names = tuple(network.names[k] for k in order)
    return _task(cell, key, names, values, network.discrete, network.graph.reordered(names))


def _measured(cell: Cell, key: str, path: Path) -> Task:
    """Sachs's measurements of the first condition, as they are or their logarithms."""
    names, values = read_sachs(path)
    values = np.log(values) if cell.law == "log" else values
    return _task(cell, key, names, values, False, _network("sachs").graph.reordered(names))


def _task(
    cell: Cell, key: str, names: tuple[str, ...], values: Float[ndarray, "n d"], discrete: bool, dag: Graph
) -> Task:
    if discrete:
        table = BenchTable(names, values, True, np.ones(len(names)))
        return Task(key, cell, table, dag.cpdag(), float("nan"), float("nan"))
    table = BenchTable(names, np.ascontiguousarray(standardised(values.T).T), False, values.std(0))
    by = [float(f(dag.directed[None], values[None])[0]) for f in (varsortability, r2_sortability)]
    return Task(key, cell, table, dag.cpdag(), *by)


def read_sachs(path: Path) -> tuple[tuple[str, ...], Float[ndarray, "n d"]]:
    """The first condition's rows of a CSV of Sachs's eleven proteins, under the names that the graph has.

    Raises:
        BadInput: no such file; a protein is missing; a cell is no positive number; fewer than 853 rows.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            head, *body = list(csv.reader(file))
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be read as a CSV of Sachs's measurements: {error}") from error
    found = [name.strip().lower() for name in head]
    if missing := [name for name in PROTEIN_NAMES if name not in found]:
        raise BadInput(f"{path} has no column {missing[0]!r}; give the eleven proteins under their usual names")
    if len(body) < FIRST_CONDITION_ROWS:
        raise BadInput(f"{path} has {len(body)} rows; the first condition alone has {FIRST_CONDITION_ROWS}")
    try:
        values = np.array(
            [[float(row[found.index(name)]) for name in PROTEIN_NAMES] for row in body[:FIRST_CONDITION_ROWS]]
        )
    except (ValueError, IndexError) as error:
        raise BadInput(f"{path} holds a cell that is no number: {error}") from error
    if not (values > 0).all():
        raise BadInput(f"{path} holds a value of 0 or less; give the intensities as they were measured")
    return tuple(PROTEIN_NAMES.values()), values


@cache
def _network(name: str) -> BayesianNetwork:
    return published(name)
