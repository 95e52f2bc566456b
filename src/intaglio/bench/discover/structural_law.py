"""`StructuralLaw`: a DAG with a random mechanism for each variable, which turns noise into a table, row by row.

The bench's own, apart from the simulator that networks are trained on: a law is kept, so that two tables of different
noise have the same mechanisms. A variable is √r·f(parents) + √(1 − r)·noise, with f of mean 0 and variance 1 over a
reference sample of independent noise: additive, each arrow linear or linear with a bend.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.special import ndtr, ndtri

from intaglio.bench.discover.twin_tables import column_names
from intaglio.causal.simulate import random_dags
from intaglio.causal.tables.column import ColumnKind

Observe = Callable[[int, Float[ndarray, "n"]], tuple[Float[ndarray, "n"], Float[ndarray, "n"]]]
"""From a variable's index and score to its column as it is observed, and to the signal that its effects respond to."""

REFERENCE_ROWS = 4000
"""Rows of independent noise over which the moments of mechanisms are taken."""
MOST_PARENTS = 4
EDGES = (0.5, 1.0, 1.5, 2.0)
"""Expected edges a variable, one of which is drawn for a graph; at most half of all pairs are joined."""
BENDS: tuple[Callable[[ndarray], ndarray], ...] = (
    lambda x: np.tanh(2 * x),
    lambda x: x**2 - 1,
    lambda x: np.sin(2 * x),
    np.abs,
)
"""The functions that an arrow of a non-linear law has beside its linear part."""
EXPLAINED = (0.15, 0.75)
"""Range of the share r of a variable's variance that its parents explain."""
WITH_LEVELS, LEVEL_SHARE, MOST_LEVELS = 0.25, 0.4, 4
"""Share of laws some of whose variables have levels, the share of such variables there, and their most levels."""
NOISES = ("gaussian", "gaussian", "laplace", "uniform", "exponential")
"""Laws of noise, one of which is drawn for a table."""


@dataclass(frozen=True, eq=False)
class StructuralLaw:
    """A DAG and its mechanisms, with the variables in causal order."""

    made: Bool[ndarray, "d d"]
    """[i, j] is i → j, with i < j."""
    explained: Float[ndarray, "d"]
    """Share of each variable's variance that its parents explain; 0 without parents."""
    weights: Float[ndarray, "2 d d"]
    """Weights of the linear part and of the bend of each arrow."""
    bends: Int[ndarray, "d d"]
    """Index into `BENDS` for each arrow."""
    cuts: tuple[tuple[float, ...], ...]
    """Cut points of each variable's score between its levels; empty for a number."""
    moments: Float[ndarray, "d 4"]
    """Mean and standard deviation of each f(parents), and of each signal, over the reference sample."""

    @property
    def kinds(self) -> dict[str, ColumnKind]:
        """Kinds of the variables that have levels, by name."""
        named = zip(column_names(len(self.made)), self.cuts, strict=True)
        return {name: "binary" if len(cuts) == 1 else "ordinal" for name, cuts in named if cuts}

    def table(self, noise: Float[ndarray, "n d"], observe: Observe | None = None) -> Float[ndarray, "n d"]:
        """A table from noise of mean 0 and variance 1: scores, codes of levels, or columns as `observe` makes them."""
        return self._columns(noise, observe or self.levels_or_scores, self.moments, learn=False)

    def levels_or_scores(self, j: int, score: Float[ndarray, "n"]) -> tuple[Float[ndarray, "n"], Float[ndarray, "n"]]:
        """A variable's scores, or the codes of its levels, which are then its signal as well."""
        seen = np.searchsorted(self.cuts[j], score).astype(np.float64) if self.cuts[j] else score
        return seen, seen

    def _columns(
        self, noise: Float[ndarray, "n d"], observe: Observe, moments: Float[ndarray, "d 4"], *, learn: bool
    ) -> Float[ndarray, "n d"]:
        columns, signals = np.empty_like(noise), np.zeros_like(noise)
        for j, share in enumerate(self.explained):
            effect = self._effect(signals, j)
            if learn:
                moments[j, :2] = effect.mean(), effect.std() or 1.0
            score = np.sqrt(share) * (effect - moments[j, 0]) / moments[j, 1] + np.sqrt(1 - share) * noise[:, j]
            columns[:, j], signal = observe(j, score)
            if learn:
                moments[j, 2:] = signal.mean(), signal.std() or 1.0
            signals[:, j] = (signal - moments[j, 2]) / moments[j, 3]
        return columns

    def _effect(self, signals: Float[ndarray, "n d"], j: int) -> Float[ndarray, "n"]:
        found = np.zeros(len(signals))
        for i in np.flatnonzero(self.made[:, j]):
            line, bend = self.weights[:, i, j]
            found += line * signals[:, i] + bend * BENDS[self.bends[i, j]](signals[:, i])
        return found


def random_law(
    rng: np.random.Generator, made: Bool[ndarray, "d d"], *, levels: bool = True, observe: Observe | None = None
) -> StructuralLaw:
    """A random law of a DAG [d, d] in causal order; half of the laws are linear.

    Args:
        rng: source of all randomness.
        made: the DAG, [i, j] is i → j with i < j.
        levels: whether variables may have levels.
        observe: as for `StructuralLaw.table`, where variables are observed otherwise than as scores.
    """
    d = len(made)
    bent = rng.random() < 0.5
    size = rng.uniform(0.5, 1.5, (2, d, d)) * rng.choice([-1.0, 1.0], (2, d, d)) * [[[1.0]], [[float(bent)]]]
    with_levels = (rng.random() < WITH_LEVELS) & (rng.random(d) < LEVEL_SHARE) & levels
    draft = StructuralLaw(
        made,
        np.where(made.any(0), rng.uniform(*EXPLAINED, d), 0.0),
        size * made,
        rng.integers(len(BENDS), size=(d, d)),
        tuple(_cuts(rng) if has else () for has in with_levels),
        np.zeros((d, 4)),
    )
    moments = np.zeros((d, 4))
    draft._columns(rng.standard_normal((REFERENCE_ROWS, d)), observe or draft.levels_or_scores, moments, learn=True)
    return replace(draft, moments=moments)


def _cuts(rng: np.random.Generator) -> tuple[float, ...]:
    """Cut points of a standard Gaussian score into 2 to 4 levels, none of them rare."""
    shares = rng.dirichlet(np.full(int(rng.integers(2, MOST_LEVELS + 1)), 6.0))
    return tuple(ndtri(shares.cumsum()[:-1]).tolist())


def random_graph(
    rng: np.random.Generator, variables: int, *, empty: float = 0.0, edges: Sequence[float] = EDGES
) -> Bool[ndarray, "d d"]:
    """An Erdős–Rényi DAG in causal order with at most four parents; without edges with the probability `empty`."""
    none = rng.random() < empty
    made = random_dags.erdos_renyi(rng, 1, variables, np.minimum(edges, (variables - 1) / 4).tolist())
    return random_dags.with_parents_capped(rng, made, MOST_PARENTS)[0] & (not none)


def random_noise_law(rng: np.random.Generator) -> str:
    """The name of a law of noise, for `shaped`."""
    return str(rng.choice(NOISES))


def shaped(gaussian: Float[ndarray, "n d"], law: str) -> Float[ndarray, "n d"]:
    """Standard Gaussian noise mapped, each value by itself, to another law of mean 0 and variance 1."""
    if law == "gaussian":
        return gaussian
    share = np.clip(ndtr(gaussian), 1e-12, 1 - 1e-12)
    if law == "uniform":
        return np.sqrt(12) * (share - 0.5)
    if law == "exponential":
        return -np.log1p(-share) - 1
    return -np.sign(share - 0.5) * np.log1p(-2 * np.abs(share - 0.5)) / np.sqrt(2)
