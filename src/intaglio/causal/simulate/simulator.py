"""The simulator: random DAGs and tables sampled from them, in batches of one size.

Variables are sampled in causal order, each for all tables at once; then a random order of the columns hides it. Half of
the tables keep every variable at unit variance, x = √r f + √(1 − r) z with f standardised over the rows; the others
have AVICI's raw scales (arXiv 2205.12934), on which variances rise along the arrows. Levels are drawn before any child
is computed, so that every table is Markov to its graph.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from intaglio.causal.graphs.graph import Graph
from intaglio.causal.graphs.paths import causal_order
from intaglio.causal.simulate import categorical, noises, random_dags
from intaglio.causal.simulate.batch import Batch, finish_batch
from intaglio.causal.simulate.mechanisms import MECHANISMS, interaction, random_features, standardised, with_bend
from intaglio.causal.simulate.recipe import Recipe
from intaglio.errors import BadInput


def draw(recipe: Recipe, rng: np.random.Generator, count: int, variables: int, rows: int) -> Batch:
    """Random graphs and one table from each.

    Args:
        recipe: distribution of graphs and tables.
        rng: source of all randomness; the same state gives the same batch.
        count: number of tables.
        variables: columns of each table.
        rows: rows of each table.

    Raises:
        BadInput: fewer than one table or variable, or fewer than two rows.
    """
    _check_sizes(count, variables, rows)
    made, families = random_dags.mixture(rng, count, variables, recipe.families, recipe.most_parents)
    return _Simulation(recipe, rng, made, rows).run(families)


def tables_of(recipe: Recipe, rng: np.random.Generator, graph: Graph, count: int, rows: int) -> Batch:
    """Tables of one given DAG, each with mechanisms of its own; columns are in the order of the graph's names."""
    if graph.kind != "DAG":
        raise BadInput(f"tables are drawn from a DAG, not a {graph.kind}; take its extension")
    _check_sizes(count, len(graph), rows)
    order = np.array(causal_order(graph.directed))
    made = np.repeat(graph.directed[np.ix_(order, order)][None], count, 0)
    return _Simulation(recipe, rng, made, rows).run(["given"] * count, np.argsort(order))


def _check_sizes(count: int, variables: int, rows: int) -> None:
    for name, value, least in (("tables", count, 1), ("variables", variables, 1), ("rows", rows, 2)):
        if value < least:
            raise BadInput(f"{value} {name} cannot be simulated; ask for {least} or more")


@dataclass
class _Choices:
    """Random choices per table [b] or per variable [b, d], in causal order."""

    mechanism: Int[ndarray, "b"]
    noise: list[str]
    controlled: Bool[ndarray, "b"]
    heteroscedastic: Bool[ndarray, "b"]
    levels: Int[ndarray, "b d"]
    """Number of levels; 0 for a numeric variable."""
    ordered: Bool[ndarray, "b d"]
    explained: Float[ndarray, "b d"]
    product: Bool[ndarray, "b d"]


class _Simulation:
    """The state of one batch; `values` is [tables, variables, rows] in causal order."""

    def __init__(self, recipe: Recipe, rng: np.random.Generator, made: Bool[ndarray, "b d d"], rows: int):
        self.recipe, self.rng, self.made, self.rows = recipe, rng, made, rows
        b, d, _ = made.shape
        self.names = sorted(recipe.mechanisms)
        self.parent_count = made.sum(1)
        most = max(1, int(self.parent_count.max(initial=0)))
        # Indices of parents come first, in causal order; slots beyond their number are arbitrary and masked.
        self.parents = np.argsort(~made, axis=1, kind="stable")[:, :most].swapaxes(1, 2)
        self.chosen = self._choose(b, d)
        self.values = noises.draw_noise(rng, self.chosen.noise, d, rows)

    def _choose(self, b: int, d: int) -> _Choices:
        recipe, rng = self.recipe, self.rng
        fewest, most = recipe.level_counts
        type_ = np.array(_drawn(rng, recipe.types, b))
        share = np.select([type_ == "continuous", type_ == "discrete"], [0.0, 1.0], rng.uniform(0.2, 0.8, b))
        with_levels = rng.random((b, d)) < share[:, None]
        return _Choices(
            mechanism=np.array([self.names.index(name) for name in _drawn(rng, recipe.mechanisms, b)]),
            noise=_drawn(rng, recipe.noises, b),
            controlled=rng.random(b) < recipe.controlled,
            heteroscedastic=rng.random(b) < recipe.heteroscedastic,
            levels=np.where(with_levels, rng.integers(fewest, most + 1, (b, d)), 0),
            ordered=with_levels & (rng.random((b, d)) < 0.5),
            explained=np.where(self.parent_count > 0, rng.uniform(*recipe.explained, (b, d)), 0.0),
            product=(rng.random((b, d)) < recipe.interactions) & (self.parent_count > 1),
        )

    def run(self, families: list[str], order: Int[ndarray, "d"] | None = None) -> Batch:
        for j in range(self.made.shape[1]):
            number = np.flatnonzero(self.chosen.levels[:, j] == 0)
            if number.size:
                self._number(j, number)
            if number.size < len(self.made):
                self._level(j, np.flatnonzero(self.chosen.levels[:, j] > 0))
        b, d, _ = self.made.shape
        if order is None:
            order = np.argsort(self.rng.random((b, d)), axis=1) if self.recipe.shuffle else np.arange(d)
        mechanism = [self.names[k] for k in self.chosen.mechanism]
        kinds = {"family": families, "mechanism": mechanism, "noise": self.chosen.noise}
        return finish_batch(
            self.values,
            self.made,
            self.chosen.levels,
            self.chosen.ordered,
            np.broadcast_to(order, (b, d)),
            kinds,
            self.chosen.controlled,
            self.recipe.standardise,
        )

    def _number(self, j: int, tables: Int[ndarray, "k"]) -> None:
        """Samples a numeric variable: signal of its parents plus noise, on the scale of the table."""
        rng, controlled = self.rng, self.chosen.controlled[tables]
        signal, noise = self._signal(j, tables), self._noise(j, tables)
        r = self.chosen.explained[tables, j][:, None]
        sigma, bias = (
            rng.uniform(*self.recipe.noise, (len(tables), 1)),
            rng.uniform(*self.recipe.bias, (len(tables), 1)),
        )
        even = np.sqrt(r) * standardised(signal) + np.sqrt(1 - r) * noise
        made = np.where(controlled[:, None], even, signal + bias + sigma * noise)
        is_bent = np.array([self.names[k] == "post-nonlinear" for k in self.chosen.mechanism[tables]])
        if is_bent.any():
            spread = np.where(controlled[is_bent, None], 1.0, sigma[is_bent])
            made[is_bent] = spread * standardised(with_bend(rng, made[is_bent])) + np.where(
                controlled[is_bent, None], 0.0, bias[is_bent]
            )
        self.values[tables, j] = made

    def _noise(self, j: int, tables: Int[ndarray, "k"]) -> Float[ndarray, "k n"]:
        """The noise of a variable, scaled by a function of its parents in heteroscedastic tables."""
        noise = self.values[tables, j]
        uneven = np.flatnonzero(self.chosen.heteroscedastic[tables] & (self.parent_count[tables, j] > 0))
        if uneven.size:
            inputs, present = self._inputs(j, tables[uneven])
            length = np.where(self.chosen.controlled[tables[uneven]], 1.0, 10.0)
            width = np.log1p(
                np.exp(2.0 * random_features(self.rng, inputs, present, length, self.recipe.scales.features))
            )
            noise[uneven] *= np.sqrt(width / width.mean(1, keepdims=True))
        return noise

    def _signal(self, j: int, tables: Int[ndarray, "k"]) -> Float[ndarray, "k n"]:
        """f(parents), 0 without parents, by the mechanism of each table."""
        found = np.zeros((len(tables), self.rows))
        has = self.parent_count[tables, j] > 0
        for k, name in enumerate(self.names):
            if (mine := np.flatnonzero(has & (self.chosen.mechanism[tables] == k))).size:
                found[mine] = self._mechanism(name, j, tables[mine])
        return found

    def _mechanism(self, name: str, j: int, tables: Int[ndarray, "k"]) -> Float[ndarray, "k n"]:
        inputs, present = self._inputs(j, tables)
        pure, extra = np.flatnonzero(self.chosen.product[tables, j]), None
        if pure.size:
            extra, left = interaction(self.rng, inputs[pure], present[pure])
            present = present.copy()
            present[pure] = left
        act, controlled = MECHANISMS[name], self.chosen.controlled[tables]
        signal = act(self.rng, inputs, present, controlled, self.recipe.scales)
        if extra is not None:
            signal[pure] = standardised(signal[pure]) + extra
        return signal

    def _inputs(self, j: int, tables: Int[ndarray, "k"]) -> tuple[Float[ndarray, "k p n"], Bool[ndarray, "k p"]]:
        """Values of the parents, arbitrary where none is present; levels get random values, drawn for this child."""
        slots, present = self._slots(j, tables)
        inputs = self.values[tables[:, None], slots]
        coded = present & (self.chosen.levels[tables[:, None], slots] > 0)
        if coded.any():
            codes = inputs[coded].astype(np.int64)
            inputs[coded] = categorical.random_level_values(self.rng, codes, self.recipe.level_counts[1])
        return inputs, present

    def _slots(self, j: int, tables: Int[ndarray, "k"]) -> tuple[Int[ndarray, "k p"], Bool[ndarray, "k p"]]:
        count = self.parent_count[tables, j]
        most = max(1, int(count.max(initial=0)))
        return self.parents[tables, j, :most], np.arange(most) < count[:, None]

    def _level(self, j: int, tables: Int[ndarray, "k"]) -> None:
        """Samples a variable with levels: by a probability table if parents have few levels, else by scores or cuts."""
        slots, present = self._slots(j, tables)
        sizes = np.where(present, self.chosen.levels[tables[:, None], slots], 1)
        by_table = (sizes > 0).all(1) & (np.prod(sizes.astype(np.float64), axis=1) <= categorical.MAX_TABLE_ROWS)
        by_cuts = ~by_table & self.chosen.ordered[tables, j]
        for kind, way in (
            (by_table, self._by_table),
            (by_cuts, self._by_cuts),
            (~by_table & ~by_cuts, self._by_scores),
        ):
            if (mine := np.flatnonzero(kind)).size:
                self.values[tables[mine], j] = way(j, tables[mine])

    def _by_table(self, j: int, tables: Int[ndarray, "k"]) -> Int[ndarray, "k n"]:
        slots, present = self._slots(j, tables)
        sizes = np.where(present, self.chosen.levels[tables[:, None], slots], 1)
        codes = np.where(present[..., None], self.values[tables[:, None], slots], 0).astype(np.int64)
        concentration = self.rng.choice(np.asarray(self.recipe.concentrations, np.float64), len(tables))
        concentration[~present.any(1)] = 1.0
        return categorical.from_probability_table(self.rng, codes, sizes, self.chosen.levels[tables, j], concentration)

    def _by_cuts(self, j: int, tables: Int[ndarray, "k"]) -> Int[ndarray, "k n"]:
        r = self.chosen.explained[tables, j][:, None]
        noise = self.rng.standard_normal((len(tables), self.rows))
        latent = np.sqrt(r) * standardised(self._signal(j, tables)) + np.sqrt(1 - r) * noise
        return categorical.by_cuts(self.rng, latent, self.chosen.levels[tables, j])

    def _by_scores(self, j: int, tables: Int[ndarray, "k"]) -> Int[ndarray, "k n"]:
        inputs, present = self._inputs(j, tables)
        return categorical.from_scores(self.rng, inputs, present, self.chosen.levels[tables, j])


def _drawn(rng: np.random.Generator, shares: Mapping[str, float], count: int) -> list[str]:
    names = sorted(shares)
    p = np.array([shares[name] for name in names], np.float64)
    return [names[k] for k in rng.choice(len(names), count, p=p / p.sum())]
