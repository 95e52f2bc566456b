"""Tables with known PAGs: of simulated models with hidden causes, and of published networks with hidden nodes."""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from intaglio.bench.discover.published_networks import BayesianNetwork, published
from intaglio.bench.discover.suites import FIRST_SEED, BenchTable
from intaglio.causal.graphs.admg import ADMG
from intaglio.causal.graphs.graph import Graph
from intaglio.causal.simulate.latent_models import LatentRecipe, draw_latent_model
from intaglio.causal.simulate.mechanisms import standardised
from intaglio.errors import BadInput
from intaglio.randomness import numpy_generator

STREAM = zlib.crc32(b"bench latent")
"""Index of the random streams of these tables; no training has it."""
Confounding = Literal["none", "double-arrows", "many-double-arrows", "hidden-nodes"]
RECIPES: dict[str, LatentRecipe] = {
    "none": LatentRecipe(confounded=(0.0, 0.0)),
    "double-arrows": LatentRecipe(),
    "many-double-arrows": LatentRecipe(confounded=(0.3, 0.4)),
    "hidden-nodes": LatentRecipe(hidden=(0.05, 0.2)),
}
"""Simulated models: no double arrows; 5 to 20%, or 30 to 40%, of all edges double arrows; as many hidden nodes of two
or more children as 5 to 20% of those that are seen."""
HIDDEN_SHARE = 0.1
"""Hidden nodes of a published network, as a share of all of its nodes."""
LARGEST_CORRELATION = 1 - 1e-12
"""Absolute correlation from which two columns are one."""
MAX_DRAWS = 20
"""Attempts to simulate a table without two columns that are one."""


@dataclass(frozen=True)
class PagCell:
    """Tables of one kind and size."""

    suite: Literal["simulated", "networks"]
    source: str
    """A key of `RECIPES`, or the name of a published network."""
    variables: int
    """Variables that are seen; of a published network all nodes, those that are hidden too."""
    rows: int
    tables: int
    """Number of tables, each with a graph, or hidden nodes, of its own."""

    @property
    def key(self) -> str:
        """Name of the cell."""
        return f"{self.suite} {self.source} d{self.variables} n{self.rows}"


@dataclass(frozen=True, eq=False)
class PagTable:
    """A table with its true PAG."""

    key: str
    cell: PagCell
    table: BenchTable
    """Standardised columns in a random order."""
    truth: Graph
    """The PAG of the true model's MAG."""


def simulated_cells(
    sources: Sequence[Confounding], variables: Sequence[int], rows: Sequence[int], tables: int
) -> list[PagCell]:
    """Cells of simulated tables, one for each combination."""
    return [PagCell("simulated", source, d, n, tables) for d in variables for source in sources for n in rows]


def network_cells(names: Sequence[str], rows: Sequence[int], tables: int) -> list[PagCell]:
    """Cells of published Gaussian networks at several numbers of rows.

    Raises:
        BadInput: a name that is no published network's, or one of a network of levels.
    """
    found = []
    for name in names:
        network = published(name)
        if network.discrete:
            raise BadInput(f"the network {name!r} has levels, and these methods take numbers; name a Gaussian one")
        found += [PagCell("networks", name, len(network.names), n, tables) for n in rows]
    return found


def pag_tables(cells: Sequence[PagCell], seed: int) -> Iterator[PagTable]:
    """The first table of every cell, then the second of every cell, and so on.

    Each depends on the seed, the cell's name and its own number alone.
    """
    for number in range(max((cell.tables for cell in cells), default=0)):
        for cell in cells:
            if number < cell.tables:
                yield _drawn(cell, f"{cell.key} #{number}", seed)


def _drawn(cell: PagCell, key: str, seed: int) -> PagTable:
    random = numpy_generator(FIRST_SEED + seed, STREAM, zlib.crc32(key.encode()))
    for _ in range(MAX_DRAWS):
        if cell.suite == "simulated":
            model = draw_latent_model(RECIPES[cell.source], random, cell.variables)
            graph, values = model.graph, model.rows(random, cell.rows)
        else:
            graph, values = with_hidden_nodes(published(cell.source), random, cell.rows)
        correlation = np.corrcoef(values, rowvar=False)
        if np.abs(correlation[np.triu_indices(len(correlation), 1)]).max() < LARGEST_CORRELATION:
            scaled = np.ascontiguousarray(standardised(values.T).T)
            return PagTable(key, cell, BenchTable(graph.names, scaled, False, values.std(0)), graph.mag().pag())
    raise BadInput(f"{MAX_DRAWS} tables of {cell.key} had two columns that are one; ask for fewer variables")


def with_hidden_nodes(
    network: BayesianNetwork, random: np.random.Generator, rows: int
) -> tuple[ADMG, Float64[ndarray, "n d"]]:
    """Rows of a published network some of whose nodes are hidden, with the ADMG of the others, in a random order.

    Hidden are `HIDDEN_SHARE` of all nodes, rounded, at least one, drawn among those with two children or more; all of
    these where they are fewer.
    """
    dag = network.graph.directed
    able = np.flatnonzero(dag.sum(1) >= 2)
    count = min(len(able), max(1, round(HIDDEN_SHARE * len(dag))))
    hidden = random.choice(able, count, replace=False)
    seen = random.permutation(np.setdiff1d(np.arange(len(dag)), hidden))
    order = np.concatenate([seen, hidden])
    names = np.array(network.names, dtype=object)
    whole = ADMG(tuple(names[order]), dag[np.ix_(order, order)], np.zeros_like(dag))
    return whole.without(names[hidden]), network.sample(random, rows)[:, seen]
