"""Fits the weight of BIC beside a network's logits in the refinement of a graph, on simulated tables."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from intaglio.causal.graphs.distances import compare
from intaglio.causal.graphs.graph import Graph
from intaglio.causal.graphs.knowledge import Knowledge
from intaglio.causal.methods.sicl.evidence import kind_codes
from intaglio.causal.methods.sicl.networks.encoding import BINARY, CONTINUOUS, NOMINAL, ORDINAL
from intaglio.causal.methods.sicl.networks.weights import TrainedNetwork
from intaglio.causal.methods.sicl.predict import PredictedGraph, predict_graph, score_regime_key
from intaglio.causal.methods.sicl.training.batches import column_kinds, select_tables, usable_indices
from intaglio.causal.methods.sicl.training.curriculum import Curriculum
from intaglio.causal.simulate import simulator
from intaglio.causal.simulate.batch import Batch
from intaglio.causal.tables.assumptions import ExaminedTable
from intaglio.causal.tables.table import ColumnKind, Table
from intaglio.randomness import numpy_generator

FIT_SEED = 40_000_000
"""Seed of the tables."""
WEIGHTS = (0.0, 0.1, 0.25, 0.5, 1.0)
"""Candidates; 0 is the network alone."""
TYPES_BY_BATCH = ("continuous", "continuous", "discrete", "continuous", "continuous", "mixed")
"""Types of the tables of successive batches; numbers more often, since their effects may be linear or not."""
TABLES_PER_BATCH = 4
"""Tables of one size that are simulated together."""
KIND_NAMES: dict[int, ColumnKind] = {CONTINUOUS: "continuous", ORDINAL: "ordinal", BINARY: "binary", NOMINAL: "nominal"}


def table_of(batch: Batch, index: int) -> Table:
    """One table of a batch as a `Table`."""
    kinds: tuple[ColumnKind, ...] = tuple(KIND_NAMES[int(k)] for k in column_kinds(batch)[index].numpy())
    levels = tuple(tuple(map(str, range(count))) for count in batch.levels[index].tolist())
    names = tuple(f"x{k}" for k in range(len(kinds)))
    return Table(names, kinds, batch.tables[index].astype(np.float64), levels)


def simulated_tables(curriculum: Curriculum, count: int) -> Iterator[tuple[Table, Graph]]:
    """Simulated tables of medium sizes with their true CPDAGs; types in turn."""
    sizes = np.random.default_rng(FIT_SEED)
    medium = [d for d in curriculum.columns if 4 <= d <= 25] or list(curriculum.columns)
    few = [n for n in curriculum.rows if n <= 2000] or [min(curriculum.rows)]
    for lot in range(-(-count // TABLES_PER_BATCH)):
        d, n = int(sizes.choice(medium)), int(sizes.choice(few))
        recipe = curriculum.recipe.with_types(TYPES_BY_BATCH[lot % len(TYPES_BY_BATCH)])
        batch = simulator.draw(recipe, numpy_generator(FIT_SEED, lot), TABLES_PER_BATCH, d, n)
        batch = select_tables(batch, usable_indices(batch))
        for k in range(len(batch)):
            yield table_of(batch, k), batch.graph(k).cpdag()


def fit_score_weights(trained: TrainedNetwork, curriculum: Curriculum, count: int) -> dict[str, float]:
    """The best weight by `score_regime_key` of the tables; see `best_weight_index`."""
    f1s_by_key: dict[str, list[list[float]]] = {}
    for table, truth in simulated_tables(curriculum, count):
        predictions = [_predict(trained, table, weight) for weight in WEIGHTS]
        key = score_regime_key(table.values, kind_codes(table), predictions[0].decoded.dag.directed)
        scores = [compare(truth, one.decoded.graph) for one in predictions]
        f1s_by_key.setdefault(key, []).append([(one.skeleton.f1 + one.orientation.f1) / 2 for one in scores])
    return {key: WEIGHTS[best_weight_index(np.array(rows))] for key, rows in sorted(f1s_by_key.items())}


def best_weight_index(f1s: Float[ndarray, "tables weights"]) -> int:
    """Index of the weight with the largest mean gain, among those that gain over two standard errors; else 0.

    Gains are in the mean of skeleton F1 and orientation F1 of a table, over the first weight, which is 0.
    """
    gain = f1s - f1s[:, :1]
    error = gain.std(0) / np.sqrt(max(1, len(f1s) - 1))
    return int(np.where(gain.mean(0) > 2 * error, gain.mean(0), 0.0).argmax())


def _predict(trained: TrainedNetwork, table: Table, weight: float) -> PredictedGraph:
    return predict_graph(
        trained, ExaminedTable(table), threshold=0.5, collider_threshold=0.5, refine=weight, knowledge=Knowledge()
    )
