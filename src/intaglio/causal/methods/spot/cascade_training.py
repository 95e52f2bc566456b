"""Training of the skeleton cascade on simulated models with hidden common causes."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float64
from numpy import ndarray

from intaglio.causal.methods.spot.cascade import SkeletonCascade, first_features, second_features
from intaglio.causal.methods.spot.cascade_settings import CascadeTraining
from intaglio.causal.methods.spot.correlations import Correlations
from intaglio.causal.methods.spot.odds_calibration import OddsCalibration, fit_odds_calibration
from intaglio.causal.methods.spot.posterior import TrainingRanges
from intaglio.causal.methods.spot.posterior_quality import posterior_quality
from intaglio.causal.simulate.latent_models import LatentRecipe, draw_latent_model
from intaglio.errors import BadInput
from intaglio.learning.boosted_trees import BoostedTrees, fit_boosted_trees
from intaglio.randomness import numpy_generator
from intaglio.runs.run import Run

RIDGE, LEAST_IN_LEAF = 1.0, 40
"""Penalty of the leaves' squares and fewest pairs in a leaf: without them a few leaves grow by orders of magnitude, and
give single pairs probabilities of 1."""
RECIPES = (LatentRecipe(), LatentRecipe(coefficients=(0.2, 1.0)), LatentRecipe(hidden=(0.02, 0.2)))
"""Recipes with hidden common causes, which take turns."""
WITHOUT_HIDDEN = (LatentRecipe(confounded=(0.0, 0.0)), LatentRecipe(confounded=(0.0, 0.0), coefficients=(0.2, 1.0)))
"""Recipes without."""
STAGES = ("first", "second", "calibration", "held-out")
"""Each has tables of its own; the first two learn trees."""
STATE = "stages"
"""Name of the checkpoint in a run."""
MOST_DRAWS = 20
"""Models that are drawn in search of one whose columns are not all but equal."""


@dataclass(frozen=True, eq=False)
class SimulatedTable:
    """A simulated table with its correlations and the adjacent pairs of the true MAG."""

    values: Float64[ndarray, "n d"]
    correlation: Float64[ndarray, "d d"]
    rows: int
    """n."""
    adjacent: Bool[ndarray, "p"]
    """In the order of `numpy.triu_indices(d, 1)`."""


def simulated_tables(
    settings: CascadeTraining, stage: str, recipes: Sequence[LatentRecipe] = RECIPES
) -> Iterator[SimulatedTable]:
    """The tables of one stage; each depends on the seed, the stage and its number alone."""
    for number in range(settings.models):
        random = numpy_generator(settings.seed, STAGES.index(stage), number)
        yield _drawn(settings, random, recipes[number % len(recipes)])


def _drawn(settings: CascadeTraining, random: np.random.Generator, recipe: LatentRecipe) -> SimulatedTable:
    for _ in range(MOST_DRAWS):
        d = settings.variables[random.integers(len(settings.variables))]
        rows = round(float(np.exp(random.uniform(*np.log(settings.rows)))))
        model = draw_latent_model(recipe, random, d)
        try:
            values = model.rows(random, rows)
            found = Correlations.of_rows(values, model.graph.names)
        except BadInput:  # columns that are all but equal, as long chains of large coefficients have them
            continue
        mag = model.graph.mag()
        joined = mag.directed | mag.directed.T | mag.bidirected
        return SimulatedTable(values, found.matrix, rows, joined[np.triu_indices(d, 1)])
    raise BadInput(f"{MOST_DRAWS} simulated tables in a row had columns that are all but equal; take smaller models")


def train_cascade(settings: CascadeTraining, *, run: Run = Run.none()) -> SkeletonCascade:
    """A cascade learnt and calibrated on simulated tables; a killed run goes on at the stage that it was at.

    First and second order are learnt on different tables, so that the first score is as good in training as in use;
    calibration and the figures in `facts` have further ones.
    """
    done = _stored(run)
    with run.progress(4, "stages", len(done)) as progress:
        for stage in STAGES[len(done) : 2]:
            done[stage] = _learnt(settings, stage, done)
            run.save_state(STATE, _tensors(done), {"done": len(done)})
            progress.advance()
        first, second = done["first"], done["second"]
        calibrations, figures = {}, {}
        for hidden, recipes in ((True, RECIPES), (False, WITHOUT_HIDDEN)):
            calibrations[hidden], figures[hidden] = _calibrated(settings, first, second, recipes)
            progress.advance()
    densities = [float(table.adjacent.sum()) / len(table.correlation) for table in simulated_tables(settings, "first")]
    ranges = TrainingRanges(
        variables=(min(settings.variables), max(settings.variables)),
        rows=settings.rows,
        density=(round(min(densities), 2), round(max(densities), 2)),
    )
    facts = {**asdict(settings), "held out": figures[True], "held out, without hidden causes": figures[False]}
    return SkeletonCascade(first, second, calibrations, ranges, facts)


def _learnt(settings: CascadeTraining, stage: str, done: dict[str, BoostedTrees]) -> BoostedTrees:
    rows, labels = [], []
    for table in simulated_tables(settings, stage):
        rows.append(_features(table, done.get("first")))
        labels.append(table.adjacent)
    features, adjacent = np.vstack(rows), np.concatenate(labels)
    rate = adjacent.mean()
    return fit_boosted_trees(
        features,
        adjacent,
        seed=settings.seed,
        weights=np.where(adjacent, 0.5 / rate, 0.5 / (1 - rate)),
        max_iter=settings.trees,
        max_leaf_nodes=settings.leaves,
        min_samples_leaf=LEAST_IN_LEAF,
        l2_regularization=RIDGE,
        early_stopping=False,
    )


def _features(table: SimulatedTable, first: BoostedTrees | None) -> Float64[ndarray, "p f"]:
    if first is None:
        return first_features(table.correlation, table.rows, 0)
    return second_features(first, table.correlation, table.rows, 0)


def _calibrated(
    settings: CascadeTraining, first: BoostedTrees, second: BoostedTrees, recipes: Sequence[LatentRecipe]
) -> tuple[OddsCalibration, dict[str, Any]]:
    """The calibration on one set of tables, and its figures on another."""
    fitted = fit_odds_calibration(*_scored(settings, "calibration", first, second, recipes))
    scores, adjacent, variables, rows = _scored(settings, "held-out", first, second, recipes)
    sizes = np.unique(np.stack([variables, rows]), axis=1).T
    calibrated = np.empty_like(scores)
    for d, n in sizes:
        here = (variables == d) & (rows == n)
        calibrated[here] = fitted(scores[here], int(d), int(n))
    return fitted, posterior_quality(calibrated, adjacent).to_json()


def _scored(
    settings: CascadeTraining, stage: str, first: BoostedTrees, second: BoostedTrees, recipes: Sequence[LatentRecipe]
) -> tuple[Float64[ndarray, "k"], Bool[ndarray, "k"], Float64[ndarray, "k"], Float64[ndarray, "k"]]:
    """Scores, adjacency, numbers of variables and of rows, for all pairs of the tables of a stage."""
    parts = []
    for table in simulated_tables(settings, stage, recipes):
        size = np.ones(len(table.adjacent))
        scores = second.probability(_features(table, first))
        parts.append((scores, table.adjacent, len(table.correlation) * size, table.rows * size))
    scores, adjacent, variables, rows = (np.concatenate(part) for part in zip(*parts, strict=True))
    return scores, adjacent, variables, rows


def _tensors(done: dict[str, BoostedTrees]) -> dict[str, torch.Tensor]:
    return {
        f"{stage}.{key}": torch.from_numpy(np.ascontiguousarray(array))
        for stage, trees in done.items()
        for key, array in trees.arrays().items()
    }


def _stored(run: Run) -> dict[str, BoostedTrees]:
    """The trees of the stages that a run has done."""
    saved = run.load_state(STATE)
    if saved is None:
        return {}
    tensors, meta = saved
    arrays = {key: tensor.numpy() for key, tensor in tensors.items()}
    return {
        stage: BoostedTrees.from_arrays(
            {key.partition(".")[2]: array for key, array in arrays.items() if key.startswith(f"{stage}.")}
        )
        for stage in STAGES[: int(meta["done"])]
    }
