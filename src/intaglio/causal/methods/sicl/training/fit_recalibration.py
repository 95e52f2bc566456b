"""Fits the recalibration of a network: trees learnt on simulated tables, many of which break an assumption.

Each table is answered by the network, with and without what is known against the break, and compared to its true graph:
which pairs are adjacent, and whether the graph is worse than no edge. A function of (seed, table) throughout.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.stats import rankdata

from intaglio.causal.graphs.distances import compare
from intaglio.causal.graphs.graph import Graph
from intaglio.causal.graphs.knowledge import Knowledge
from intaglio.causal.methods.sicl.networks.logit_scaling import Reliability
from intaglio.causal.methods.sicl.networks.recalibration import Recalibration
from intaglio.causal.methods.sicl.networks.weights import TrainedNetwork
from intaglio.causal.methods.sicl.predict import PredictedGraph, predict_graph
from intaglio.causal.methods.sicl.training.batches import usable_indices
from intaglio.causal.methods.sicl.training.curriculum import Curriculum
from intaglio.causal.methods.sicl.training.fit_score_weight import table_of
from intaglio.causal.methods.sicl.trust_features import as_examined
from intaglio.causal.simulate import assumption_breaks, simulator
from intaglio.causal.tables.assumptions import ExaminedTable, examine
from intaglio.causal.tables.table import Table
from intaglio.errors import BadInput
from intaglio.learning.boosted_trees import fit_boosted_trees
from intaglio.randomness import numpy_generator
from intaglio.runs.run import Run

FIT_SEED, TEST_SEED = 50_000_000, 60_000_000
"""Seeds of the tables for fitting and for testing; seeds of training are smaller."""
STATE = "recalibration"
SOUND = "sound"
FAMILIES = (*assumption_breaks.FAMILIES, *["sound"] * 4)
"""Families in turn: a third of the tables are like those of the training."""
COLUMNS = (2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30)
ROWS = (50, 5000)
"""Range of the number of rows, drawn on a logarithmic scale."""
LONG_SHARE, LONG_ROWS, MOST_CELLS = 0.08, 30_000, 150_000
"""Share of tables with up to so many rows, and most cells of a table."""
MOST_PAIRS = 80
"""Pairs of a table that trees are learnt from, drawn at random."""
RIDGE: dict[str, Any] = {"l2_regularization": 1.0}
PAIR_TREES = RIDGE | {"max_iter": 180, "max_leaf_nodes": 31, "learning_rate": 0.08, "min_samples_leaf": 60}
TABLE_TREES = RIDGE | {"max_iter": 120, "max_leaf_nodes": 12, "learning_rate": 0.06, "min_samples_leaf": 20}
"""Settings of scikit-learn's histogram gradient boosting for trees over pairs, and over tables."""


@dataclass(frozen=True, eq=False)
class JudgedTable:
    """A table's features with what is true of it; p pairs in the order of `numpy.triu_indices`."""

    family: str
    pairs: Float[ndarray, "p f"]
    table: Float[ndarray, "t"]
    adjacent: Bool[ndarray, "p"]
    """Whether the pairs are adjacent in the true graph."""
    said: Float[ndarray, "p"]
    """Probabilities that the network gave them."""
    shd: int
    """Distance of the network's graph from the true CPDAG."""
    unaided: int
    """The same of its graph where all rows count and no gap is filled."""
    empty: int
    """The same of the graph without edges."""


def simulated_table(curriculum: Curriculum, seed: int, index: int) -> tuple[str, Table, Graph]:
    """One table with its family and its true CPDAG."""
    rng = numpy_generator(seed, index)
    family = FAMILIES[index % len(FAMILIES)]
    while True:
        d, n = _size(rng)
        if family == SOUND:
            batch = curriculum.augmentation(rng, simulator.draw(curriculum.recipe, rng, 1, d, n))
            if usable_indices(batch).size:
                return family, table_of(batch, 0), batch.graph(0).cpdag()
            continue
        try:
            made = assumption_breaks.draw_broken_table(family, rng, max(3, d), n)
        except BadInput:
            continue  # rare events that never happen in so few rows
        return family, _table(made), made.graph.cpdag()


def _size(rng: np.random.Generator) -> tuple[int, int]:
    d = int(rng.choice(COLUMNS))
    most = LONG_ROWS if rng.random() < LONG_SHARE else ROWS[1]
    n = int(np.exp(rng.uniform(np.log(ROWS[0]), np.log(most))))
    return d, max(ROWS[0], min(n, MOST_CELLS // d))


def _table(made: assumption_breaks.BrokenTable) -> Table:
    sizes = [
        0 if kind == "continuous" else int(np.nanmax(x)) + 1 for kind, x in zip(made.kinds, made.values.T, strict=True)
    ]
    levels = tuple(tuple(map(str, range(size))) for size in sizes)
    return Table(made.graph.names, made.kinds, made.values, levels)


def judged(trained: TrainedNetwork, family: str, table: Table, truth: Graph) -> JudgedTable:
    """A table as the network answers it without a recalibration."""
    alone = replace(trained, recalibration=None)
    examined = examine(table)
    found = _predict(alone, examined)
    reading = found.reading
    if reading.features is None:
        raise ValueError("a recalibration is of networks for adjacencies, and of two columns or more")
    helped = examined.variance_ratios is not None or examined.chosen_gaps or examined.table is not table
    without = _predict(alone, ExaminedTable(table)) if helped else found
    upper = np.triu_indices(len(table.names), 1)
    empty = Graph.from_adjacency("CPDAG", np.zeros((len(table.names),) * 2, bool), table.names)
    return JudgedTable(
        family,
        reading.features.pairs.astype(np.float32).astype(np.float64),
        reading.features.table.astype(np.float32).astype(np.float64),
        truth.skeleton[upper],
        found.adjacent[upper],
        *(compare(truth, one).shd for one in (found.decoded.graph, without.decoded.graph, empty)),
    )


def _predict(trained: TrainedNetwork, examined: ExaminedTable) -> PredictedGraph:
    return predict_graph(trained, examined, threshold=0.5, collider_threshold=0.5, refine="auto", knowledge=Knowledge())


@dataclass(frozen=True, eq=False)
class Lesson:
    """Examples that trees are learnt from: a sample of the pairs, and all tables."""

    pairs: Float[ndarray, "k f"]
    adjacent: Bool[ndarray, "k"]
    weights: Float[ndarray, "k"]
    """Weights that make up for pairs that were not drawn; the square root of their number for a whole table."""
    tables: Float[ndarray, "m t"]
    worse: Bool[ndarray, "m"]
    unaided: Bool[ndarray, "m"]

    def trees(self) -> Recalibration:
        """The fitted trees."""
        return Recalibration(
            fit_boosted_trees(self.pairs, self.adjacent, seed=0, weights=self.weights, **PAIR_TREES),
            fit_boosted_trees(as_examined(self.tables), self.worse, seed=0, **TABLE_TREES),
            fit_boosted_trees(self.tables, self.unaided, seed=0, **TABLE_TREES),
            np.nan_to_num(np.nanmedian(self.tables[~self.unaided], 0)).astype(np.float32).astype(np.float64),
        )


def _lesson_of(one: JudgedTable, rng: np.random.Generator) -> Lesson:
    p = len(one.adjacent)
    drawn = np.sort(rng.permutation(p)[:MOST_PAIRS])
    weights = np.full(len(drawn), np.sqrt(p) / len(drawn))
    worse, unaided = np.array([one.shd > one.empty]), np.array([one.unaided > one.empty])
    return Lesson(one.pairs[drawn], one.adjacent[drawn], weights, one.table[None], worse, unaided)


def gather_lesson(trained: TrainedNetwork, curriculum: Curriculum, count: int, run: Run = Run.none()) -> Lesson:
    """The lesson of `count` tables; a killed run goes on at the table that it was at."""
    parts = _stored(run)
    done = sum(len(part.worse) for part in parts)
    with run.progress(count, "tables", done) as progress:
        for index in range(done, count):
            one = judged(trained, *simulated_table(curriculum, FIT_SEED, index))
            parts.append(_lesson_of(one, numpy_generator(FIT_SEED + 1, index)))
            progress.advance()
            if index % 50 == 49:
                parts = [_joined(parts)]
                tensors = {name: torch.from_numpy(value) for name, value in vars(parts[0]).items()}
                run.save_state(STATE, tensors, {"tables": index + 1}, every_s=30.0)
    return _joined(parts)


def _joined(parts: list[Lesson]) -> Lesson:
    return Lesson(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])})


def _stored(run: Run) -> list[Lesson]:
    saved = run.load_state(STATE)
    return [] if saved is None else [Lesson(**{name: tensor.numpy() for name, tensor in saved[0].items()})]


def fit_recalibration(
    trained: TrainedNetwork, curriculum: Curriculum, tables: int, test_tables: int, run: Run = Run.none()
) -> tuple[Recalibration, dict[str, Any]]:
    """Trees learnt on `tables` simulated tables, and what they are worth on `test_tables` others.

    Returns the recalibration and figures by family: mean SHD of the network unaided, of the answer, of no edge; the
    expected calibration errors of both; and the AUC of telling tables where either is worse than no edge.

    Raises:
        BadInput: too few tables, so that not both classes occur.
    """
    lesson = gather_lesson(trained, curriculum, tables, run)
    if not all(0 < part.sum() < len(part) for part in (lesson.adjacent, lesson.worse, lesson.unaided)):
        raise BadInput(f"{tables} tables have no answers both better and worse than no edge; take hundreds")
    found = lesson.trees()
    return found, measured(replace(trained, recalibration=found), curriculum, test_tables, run)


def measured(trained: TrainedNetwork, curriculum: Curriculum, count: int, run: Run = Run.none()) -> dict[str, Any]:
    """The figures of a recalibrated network over `count` simulated tables; see `fit_recalibration`."""
    rows: dict[str, list[dict[str, Any]]] = {}
    with run.progress(count, "test tables") as progress:
        for index in range(count):
            family, table, truth = simulated_table(curriculum, TEST_SEED, index)
            rows.setdefault(family, []).append(_outcome(trained, family, table, truth))
            progress.advance()
    every = [row for family in rows.values() for row in family]
    return {
        "tables": count,
        **{name: _figures(family) for name, family in sorted(rows.items())},
        "all": _figures(every),
    }


def _outcome(trained: TrainedNetwork, family: str, table: Table, truth: Graph) -> dict[str, Any]:
    before, found = judged(trained, family, table, truth), _predict(trained, examine(table))
    recalibration = trained.recalibration
    score = recalibration.unlikeness(before.table) if recalibration else float("nan")
    return {
        "unaided": before.unaided,
        "empty": before.empty,
        "shd": compare(truth, found.decoded.graph).shd,
        "said": before.said,
        "says": found.adjacent[np.triu_indices(len(table.names), 1)],
        "true": before.adjacent,
        "score": score,
    }


def _figures(rows: list[dict[str, Any]]) -> Mapping[str, float]:
    true = np.concatenate([row["true"] for row in rows])
    said, says = (np.concatenate([row[name] for row in rows]) for name in ("said", "says"))
    worse = np.array([max(row["unaided"], row["shd"]) > row["empty"] for row in rows])
    return {
        **{f"shd_{name}": float(np.mean([row[key] for row in rows])) for name, key in SHD_KEYS.items()},
        "ece_before": Reliability.of(said, true).ece,
        "ece": Reliability.of(says, true).ece,
        "worse": float(worse.mean()),
        "auc": area_under_curve(np.array([row["score"] for row in rows]), worse),
    }


SHD_KEYS = {"unaided": "unaided", "answer": "shd", "empty": "empty"}


def area_under_curve(scores: Float[ndarray, "k"], positive: Bool[ndarray, "k"]) -> float:
    """Probability that a positive has a larger score than another, ties half; NaN without both."""
    m, ranks = int(positive.sum()), rankdata(scores)
    others = len(positive) - m
    return float((ranks[positive].sum() - m * (m + 1) / 2) / (m * others)) if m and others else float("nan")
