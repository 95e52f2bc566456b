"""Random linear models with hidden common causes, and rows drawn from them; the graph of each is known."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64
from numpy import ndarray

from intaglio.causal.confounding.ricf import LinearADMG
from intaglio.causal.graphs.admg import ADMG
from intaglio.causal.simulate import random_dags
from intaglio.causal.simulate.noises import NOISES, draw_noise
from intaglio.errors import BadInput

UPPER_SHARE = 0.2
"""Share of the variables that are causes in a bipartite graph."""

MOST_EDGES = 1000
"""Largest bound of the edges per variable."""


@dataclass(frozen=True)
class LatentRecipe:
    """Ranges of random linear models with hidden common causes: those of SPOT (arXiv 2406.10537).

    Raises:
        ValueError: an unknown family or noise, or a range that is empty or outside of its bounds.
    """

    families: tuple[str, ...] = ("erdos-renyi", "scale-free", "bipartite")
    """Families of DAGs, of which one is drawn per model, by their names in `LATENT_FAMILIES`."""
    edges: tuple[float, float] = (1.0, 1.7)
    """Range of the edges per variable, hidden ones included; their number is rounded down."""
    confounded: tuple[float, float] = (0.05, 0.2)
    """Range of the probability, drawn per model, that an arrow becomes a double arrow; each 0 to 1."""
    hidden: tuple[float, float] | None = None
    """Range of the number of hidden variables of a DAG, as a share of those that are seen; None: double arrows alone.

    With a range, such as (0.05, 0.2), hidden variables are nodes with two or more children, at least one where the DAG
    has such a node; arrows stay arrows, and `confounded` has no say.
    """
    coefficients: tuple[float, float] = (0.5, 2.0)
    """Range of the absolute coefficient of an arrow, above 0."""
    covariances: tuple[float, float] = (0.4, 0.7)
    """Range of the absolute covariance of two errors that a double arrow joins, above 0."""
    variances: tuple[float, float] = (0.7, 1.2)
    """Range of each error's own variance, drawn once per model, above 0; hidden common causes add to it."""
    noise: str = "gaussian"
    """Law of all independent errors, by its name in `noises.NOISES`; `cauchy`, without variance, is refused."""

    def __post_init__(self):
        if not self.families or (unknown := sorted(set(self.families) - set(LATENT_FAMILIES))):
            wrong = repr(unknown[0]) if self.families else "no family"
            raise ValueError(f"families has {wrong}; there are {', '.join(LATENT_FAMILIES)}")
        if self.noise not in NOISES or self.noise == "cauchy":
            raise ValueError(f"noise is a law with a variance, not {self.noise!r}; there are {', '.join(NOISES)}")
        for name, least, most in (("edges", 0, MOST_EDGES), ("confounded", 0, 1), ("hidden", 0, 1)):
            given = getattr(self, name)
            if given is not None and not least <= given[0] <= given[1] <= most:
                raise ValueError(f"{name} is a range within {least} and {most}, not {given[0]} to {given[1]}")
        for name in ("coefficients", "covariances", "variances"):
            low, high = getattr(self, name)
            if not 0 < low <= high < np.inf:
                raise ValueError(f"{name} is a range above 0, not {low} to {high}")


@dataclass(frozen=True, eq=False)
class LatentModel:
    """A linear model X = X B + Z M over the seen variables, with independent sources Z of variance 1.

    A source that acts on two errors or more is a hidden common cause, whatever the law of the sources: errors without
    a double arrow have no source in common.
    """

    graph: ADMG
    """The true graph; `graph.mag()` and `graph.mag().pag()` are what tables can speak for."""
    arrows: Float64[ndarray, "d d"]
    """B; [i, j] is the coefficient of i → j."""
    sources: Float64[ndarray, "k d"]
    """M; [s, j] is the coefficient of source s in the error of j."""
    family: str
    """Family of the DAG that was drawn."""
    noise: str
    """Law of the sources."""

    @property
    def parameters(self) -> LinearADMG:
        """B and Ω = M'M, whose `covariance()` is that of the rows."""
        return LinearADMG(self.arrows, self.sources.T @ self.sources)

    def rows(self, rng: np.random.Generator, count: int) -> Float64[ndarray, "n d"]:
        """Independent rows with mean 0, neither centred nor standardised.

        Raises:
            BadInput: fewer than one row.
        """
        if count < 1:
            raise BadInput(f"{count} rows cannot be drawn; ask for 1 or more")
        noise = draw_noise(rng, [self.noise], len(self.sources), count)[0]
        return np.linalg.solve((np.eye(len(self.arrows)) - self.arrows).T, self.sources.T @ noise).T


def draw_latent_model(recipe: LatentRecipe, rng: np.random.Generator, variables: int) -> LatentModel:
    """A random model with `variables` seen variables, named X1, X2, ..., in a random order.

    Args:
        recipe: ranges of the model.
        rng: source of all randomness; the same state gives the same model.
        variables: number of seen variables d, 2 or more.

    Raises:
        BadInput: fewer than two variables.
    """
    if variables < 2:
        raise BadInput(f"{variables} variables have no hidden common cause; ask for 2 or more")
    family = recipe.families[rng.integers(len(recipe.families))]
    edges, variance = rng.uniform(*recipe.edges), rng.uniform(*recipe.variances)
    if recipe.hidden is None:
        made = _shuffled(rng, _dag(rng, family, variables, edges))
        return _with_double_arrows(recipe, rng, made, variance, family)
    most = max(1, round(rng.uniform(*recipe.hidden) * variables))
    made, hidden = _dag_with_hidden(rng, family, variables, edges, most)
    return _with_hidden_nodes(recipe, rng, made, hidden, variance, family)


def _with_double_arrows(
    recipe: LatentRecipe, rng: np.random.Generator, made: Bool[ndarray, "d d"], variance: float, family: str
) -> LatentModel:
    """The model of a DAG some of whose arrows become double arrows, each with one hidden source.

    The source of i ↔ j acts with √|ω| on i and ±√|ω| on j, so that Ω has ω off its diagonal, and on it the variance
    plus the sum of |ω| over the row.
    """
    d = len(made)
    turned = made & (rng.random((d, d)) < rng.uniform(*recipe.confounded))
    arrows = _signed(rng, (d, d), recipe.coefficients) * (made & ~turned)
    pairs = np.argwhere(turned)
    covariances, each = _signed(rng, (len(pairs),), recipe.covariances), np.arange(len(pairs))
    shared = np.zeros((len(pairs), d))
    shared[each, pairs[:, 0]] = np.sqrt(np.abs(covariances))
    shared[each, pairs[:, 1]] = np.copysign(np.sqrt(np.abs(covariances)), covariances)
    graph = ADMG(_names(d), arrows != 0, turned | turned.T)
    return LatentModel(graph, arrows, np.vstack([np.sqrt(variance) * np.eye(d), shared]), family, recipe.noise)


def _with_hidden_nodes(
    recipe: LatentRecipe,
    rng: np.random.Generator,
    made: Bool[ndarray, "m m"],
    hidden: Bool[ndarray, "m"],
    variance: float,
    family: str,
) -> LatentModel:
    """The margin of a DAG's model over the nodes that are seen: hidden ones are replaced by their own equations."""
    whole, own = _signed(rng, made.shape, recipe.coefficients) * made, np.sqrt(variance)
    seen = ~hidden
    onto = np.linalg.solve(np.eye(hidden.sum()) - whole[hidden][:, hidden], whole[hidden][:, seen])
    arrows = whole[seen][:, seen] + whole[seen][:, hidden] @ onto
    names = np.array([f"H{k + 1}" for k in range(len(made))], dtype=object)
    names[seen] = _names(int(seen.sum()))
    graph = ADMG(tuple(names), made, np.zeros_like(made)).without(names[hidden])
    return LatentModel(graph, arrows, own * np.vstack([np.eye(len(arrows)), onto]), family, recipe.noise)


def _dag_with_hidden(
    rng: np.random.Generator, family: str, seen: int, edges: float, most: int
) -> tuple[Bool[ndarray, "m m"], Bool[ndarray, "m"]]:
    """A DAG of `seen` nodes and at most `most` others to hide, each of these with two children or more.

    A DAG with too few such nodes is drawn anew with as many fewer to hide, possibly none.
    """
    while True:
        made = _shuffled(rng, _dag(rng, family, seen + most, edges))
        able = np.flatnonzero(made.sum(1) >= 2)
        if len(able) >= most:
            break
        most = len(able)
    hidden = np.zeros(len(made), bool)
    hidden[rng.choice(able, most, replace=False)] = True
    return made, hidden


def _dag(rng: np.random.Generator, family: str, nodes: int, edges: float) -> Bool[ndarray, "m m"]:
    """A DAG in causal order with ⌊nodes · edges⌋ edges, or as many as its family allows, chosen among its pairs."""
    pairs = np.argwhere(LATENT_FAMILIES[family](rng, nodes))
    kept = pairs[rng.permutation(len(pairs))[: int(nodes * edges)]]
    made = np.zeros((nodes, nodes), bool)
    made[kept[:, 0], kept[:, 1]] = True
    return made


def _every_pair(rng: np.random.Generator, nodes: int) -> Bool[ndarray, "m m"]:
    return np.triu(np.ones((nodes, nodes), bool), 1)


def _preferential_attachment(rng: np.random.Generator, nodes: int) -> Bool[ndarray, "m m"]:
    """Two edges per node by preferential attachment; hubs of causes or of effects with equal probability."""
    draw = random_dags.scale_free if rng.random() < 0.5 else random_dags.scale_free_transposed
    return draw(rng, 1, nodes, (2,))[0]


def _two_layers(rng: np.random.Generator, nodes: int) -> Bool[ndarray, "m m"]:
    upper = np.arange(nodes) < max(1, int(UPPER_SHARE * nodes))
    return upper[:, None] & ~upper


LATENT_FAMILIES: dict[str, Callable[[np.random.Generator, int], Bool[ndarray, "m m"]]] = {
    "erdos-renyi": _every_pair,
    "scale-free": _preferential_attachment,
    "bipartite": _two_layers,
}
"""Pairs that each family draws its edges from, all with equal probability."""


def _shuffled(rng: np.random.Generator, made: Bool[ndarray, "m m"]) -> Bool[ndarray, "m m"]:
    order = rng.permutation(len(made))
    return made[np.ix_(order, order)]


def _signed(rng: np.random.Generator, shape: tuple[int, ...], size: tuple[float, float]) -> Float64[ndarray, "..."]:
    """Numbers of random sign with an absolute value that is uniform in a range."""
    return rng.uniform(*size, shape) * np.where(rng.random(shape) < 0.5, -1.0, 1.0)


def _names(count: int) -> tuple[str, ...]:
    return tuple(f"X{k + 1}" for k in range(count))
