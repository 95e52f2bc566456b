"""Vicinal fine-tuning of a skeleton cascade: trees learnt on tables like the one at hand (arXiv 2406.10537)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64
from numpy import ndarray

from intaglio.causal.confounding.class_repair import AllowedGraphs, Edges
from intaglio.causal.confounding.ricf import DistrictScores
from intaglio.causal.graphs.knowledge import Knowledge
from intaglio.causal.methods.spot.cascade import SkeletonCascade, pairs_matrix, second_features
from intaglio.causal.methods.spot.correlations import Correlations
from intaglio.causal.methods.spot.half_samples import half_sample_graphs
from intaglio.causal.methods.spot.odds_calibration import fit_odds_calibration
from intaglio.causal.methods.spot.posterior import SkeletonProbabilities, inclusion_of
from intaglio.errors import BadInput
from intaglio.learning.boosted_trees import fit_boosted_trees
from intaglio.randomness import numpy_generator
from intaglio.runs.deadline import Deadline
from intaglio.runs.run import Run

STATE = "vicinal graphs"
FEWEST = 8
"""Fewest vicinal data sets that trees are learnt from."""
CALIBRATED_ON = 4
"""One of so many vicinal data sets is for the calibration, and no tree is learnt from it."""
HALVES, ROWS = 2, 3
"""Indices of the random streams of halves and of simulated rows."""
SWEEPS = 3
"""Most sweeps of the search over single edges on a half of the rows."""
TREES = {"max_iter": 60, "max_leaf_nodes": 8, "min_samples_leaf": 20, "l2_regularization": 1.0, "early_stopping": False}
"""Settings of the trees: few and small, since all vicinal data sets resemble each other."""


@dataclass(frozen=True, eq=False)
class VicinalTuning:
    """Fine-tuning of a cascade by vicinal data sets of one table.

    A vicinal data set is simulated from a graph found by BIC on a random half of the rows, with the parameters of
    maximum likelihood on all rows, and has as many rows as the table. A second set of trees learns adjacency in the
    MAGs of those graphs, from the features of the second order and the log-odds of the cascade, and its score is
    calibrated on vicinal data sets that it did not learn from.

    It lowered the log-loss on simulated models with coefficients below those of the training simulations. What it does
    within their range was not established, so that it is an option and no default.
    """

    count: int
    """Vicinal data sets, `FEWEST` or more."""
    seed: int
    least_probability: float
    """Probability from which the search over single edges looks at a pair."""

    def __call__(
        self,
        cascade: SkeletonCascade,
        correlations: Correlations,
        values: Float64[ndarray, "n d"],
        in_time: Callable[[], bool],
        run: Run,
        deadline: Deadline | None = None,
    ) -> SkeletonProbabilities:
        """The probabilities after fine-tuning; those of the cascade, with a flag, where it cannot be.

        Args:
            cascade: the trees that are tuned; whether it allows for hidden causes decides the graphs.
            correlations: those of the table.
            values: rows of the table.
            in_time: whether there is time left for another vicinal data set.
            run: takes progress and a checkpoint after each graph.
            deadline: of graphs that are searched on a cluster, which cannot ask `in_time`; None for none.
        """
        before = cascade(correlations, self.seed)
        n, d = values.shape
        if n // 2 <= d + 1:
            return _untuned(before, f"half of the {n} rows are too few for a graph of {d} variables")
        graphs = self._graphs(cascade, before, values, in_time, run, deadline)
        if len(graphs) < FEWEST:
            return _untuned(before, f"the time was over after {len(graphs)} of {self.count} vicinal data sets")
        sets = [self._data_set(cascade, correlations, edges, number) for number, edges in enumerate(graphs)]
        own = _features(cascade, correlations.matrix, n)
        try:
            score, posterior = _tuned(sets, own, d, n, self.seed)
        except BadInput:  # graphs that are all empty, or all complete
            return _untuned(before, "the graphs of all vicinal data sets have every pair or none adjacent")
        inclusion = inclusion_of(pairs_matrix(score, d), least=cascade.least_inclusion)
        return SkeletonProbabilities(before.names, pairs_matrix(posterior, d), inclusion, before.flags)

    def _graphs(
        self,
        cascade: SkeletonCascade,
        before: SkeletonProbabilities,
        values: Float64[ndarray, "n d"],
        in_time: Callable[[], bool],
        run: Run,
        deadline: Deadline | None,
    ) -> list[Edges]:
        """The graph of each half of the rows, searched from the probable pairs."""
        hidden, d = cascade.hidden_causes, len(before.names)
        known = Knowledge().constraints(before.names, hidden_causes=hidden)
        allowed = AllowedGraphs(before.names, "ancestral", known, doubles=hidden)
        probable, none = before.posterior > 0.5, np.zeros((d, d), bool)
        start = Edges(none, probable) if hidden else Edges(np.triu(probable), none)
        looked = np.triu(probable | (before.posterior >= self.least_probability), 1)
        pairs = [(int(i), int(j)) for i, j in np.argwhere(looked)]
        standard = (values - values.mean(0)) / values.std(0)
        return half_sample_graphs(
            standard,
            start,
            allowed,
            pairs,
            np.zeros((d, d)),
            self.count,
            self.seed,
            in_time,
            run,
            state=STATE,
            stream=HALVES,
            sweeps=SWEEPS,
            deadline=deadline,
        )

    def _data_set(
        self, cascade: SkeletonCascade, correlations: Correlations, edges: Edges, number: int
    ) -> tuple[Float64[ndarray, "p g"], Bool[ndarray, "p"]]:
        """Features and adjacency of the pairs of one vicinal data set."""
        n, d = correlations.rows, len(correlations.names)
        fitted = DistrictScores(correlations.matrix, n).fit(edges.directed, edges.bidirected)
        random = numpy_generator(self.seed, ROWS, number)
        rows = random.standard_normal((n, d)) @ np.linalg.cholesky(fitted.covariance()).T
        known = Knowledge().constraints(correlations.names, hidden_causes=True)
        skeleton = AllowedGraphs(correlations.names, "ancestral", known).graph(edges).mag().skeleton
        simulated = Correlations.of_rows(rows, correlations.names).matrix
        return _features(cascade, simulated, n), skeleton[np.triu_indices(d, 1)]


def _features(cascade: SkeletonCascade, correlation: Float64[ndarray, "d d"], rows: int) -> Float64[ndarray, "p g"]:
    """Features of the second order with the cascade's log-odds."""
    features = second_features(cascade.first, correlation, rows, 0)
    return np.column_stack([features, cascade.second.log_odds(features)])


def _tuned(
    sets: Sequence[tuple[Float64[ndarray, "p g"], Bool[ndarray, "p"]]],
    own: Float64[ndarray, "p g"],
    variables: int,
    rows: int,
    seed: int,
) -> tuple[Float64[ndarray, "p"], Float64[ndarray, "p"]]:
    """Balanced scores and calibrated probabilities of the pairs of the table itself.

    Raises:
        BadInput: pairs that are all adjacent or all not.
    """
    held, learnt = sets[::CALIBRATED_ON], [one for k, one in enumerate(sets) if k % CALIBRATED_ON]
    features, adjacent = np.vstack([one for one, _ in learnt]), np.concatenate([one for _, one in learnt])
    if adjacent.all() or not adjacent.any():
        raise BadInput("all pairs have one label, so that no trees can be learnt")
    rate = adjacent.mean()
    weights = np.where(adjacent, 0.5 / rate, 0.5 / (1 - rate))
    trees = fit_boosted_trees(features, adjacent, seed=seed, weights=weights, **TREES)
    scores, labels = trees.probability(np.vstack([one for one, _ in held])), np.concatenate([one for _, one in held])
    size = np.ones_like(scores)
    calibration = fit_odds_calibration(scores, labels, variables * size, rows * size)
    score = trees.probability(own)
    return score, calibration(score, variables, rows)


def _untuned(before: SkeletonProbabilities, reason: str) -> SkeletonProbabilities:
    flag = f"{reason}, so that the posterior is not tuned to the table (--vicinal)"
    return SkeletonProbabilities(before.names, before.posterior, before.inclusion, (*before.flags, flag))
