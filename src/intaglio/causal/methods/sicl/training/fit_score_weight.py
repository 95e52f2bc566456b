"""How much a score of the rows should weigh beside a network's logits, by what does best on simulated tables."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from intaglio.causal.graphs.distances import compare
from intaglio.causal.graphs.graph import Graph
from intaglio.causal.graphs.knowledge import Knowledge
from intaglio.causal.methods.sicl.networks.encoding import BINARY, CONTINUOUS, NOMINAL, ORDINAL
from intaglio.causal.methods.sicl.networks.weights import Trained
from intaglio.causal.methods.sicl.predict import Answer, answer, kinds_of, occasion
from intaglio.causal.methods.sicl.training.batches import kinds_of as kinds_in
from intaglio.causal.methods.sicl.training.batches import part, usable
from intaglio.causal.methods.sicl.training.curriculum import Curriculum
from intaglio.causal.simulate import simulator
from intaglio.causal.simulate.batch import Batch
from intaglio.causal.tables.table import ColumnKind, Table
from intaglio.randomness import numpy_generator

CHOSEN = 40_000_000
"""Seed of the tables."""
WEIGHTS = (0.0, 0.1, 0.25, 0.5, 1.0)
TYPES = ("continuous", "continuous", "discrete", "continuous", "continuous", "mixed")
"""Of the lots of tables, in turn; numbers more often, since their effects may be linear or not."""
LOT = 4
WORDS: dict[int, ColumnKind] = {CONTINUOUS: "continuous", ORDINAL: "ordinal", BINARY: "binary", NOMINAL: "nominal"}


def table_of(batch: Batch, place: int) -> Table:
    """One table of a batch as a person would bring it."""
    kinds: tuple[ColumnKind, ...] = tuple(WORDS[int(k)] for k in kinds_in(batch)[place].numpy())
    levels = tuple(tuple(map(str, range(count))) for count in batch.levels[place].tolist())
    names = tuple(f"x{k}" for k in range(len(kinds)))
    return Table(names, kinds, batch.tables[place].astype(np.float64), levels)


def tables(curriculum: Curriculum, count: int) -> Iterator[tuple[Table, Graph]]:
    """Simulated tables of medium sizes with their true classes; numbers and levels in turn."""
    sizes = np.random.default_rng(CHOSEN)
    medium = [d for d in curriculum.columns if 4 <= d <= 25] or list(curriculum.columns)
    few = [n for n in curriculum.rows if n <= 2000] or [min(curriculum.rows)]
    for lot in range(-(-count // LOT)):
        d, n = int(sizes.choice(medium)), int(sizes.choice(few))
        recipe = curriculum.recipe.with_types(TYPES[lot % len(TYPES)])
        batch = simulator.draw(recipe, numpy_generator(CHOSEN, lot), LOT, d, n)
        batch = part(batch, usable(batch))
        for k in range(len(batch)):
            yield table_of(batch, k), batch.graph(k).cpdag()


def choose(trained: Trained, curriculum: Curriculum, count: int) -> dict[str, float]:
    """The weight that does best, for each kind of table that there was; see `best`."""
    worth: dict[str, list[list[float]]] = {}
    for table, truth in tables(curriculum, count):
        answers = [_answer(trained, table, weight) for weight in WEIGHTS]
        when = occasion(table.values, kinds_of(table), answers[0].decoded.dag.directed)
        scores = [compare(truth, one.decoded.graph) for one in answers]
        worth.setdefault(when, []).append([(one.skeleton.f1 + one.orientation.f1) / 2 for one in scores])
    return {when: WEIGHTS[best(np.array(rows))] for when, rows in sorted(worth.items())}


def best(worth: Float[ndarray, "tables weights"]) -> int:
    """The place of the largest mean over the tables, among those that gain on the first by over two standard errors.

    What a table is worth is the mean of skeleton F1 and orientation F1; the first weight is 0, the network alone.
    """
    gain = worth - worth[:, :1]
    error = gain.std(0) / np.sqrt(max(1, len(worth) - 1))
    return int(np.where(gain.mean(0) > 2 * error, gain.mean(0), 0.0).argmax())


def _answer(trained: Trained, table: Table, weight: float) -> Answer:
    return answer(trained, table, threshold=0.5, collider_threshold=0.5, refine=weight, knowledge=Knowledge())
