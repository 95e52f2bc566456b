"""Categorical variables, in batches: from probability tables, from softmax scores, or by cutting a number."""

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.special import ndtri

from intaglio.causal.simulate.mechanisms import Parents, Present, standardised

UNIFORM_WEIGHT = 0.05
"""Weight of the uniform law that is mixed into every law over levels, so that none is all but certain."""
MAX_TABLE_ROWS = 256
"""Most rows of a probability table; beyond, levels are drawn from scores or cuts."""

Codes = Int[ndarray, "b n"]
Counts = Int[ndarray, "b"]


def dirichlet_laws(
    rng: np.random.Generator, concentration: Float[ndarray, "m"], counts: Int[ndarray, "m"]
) -> Float[ndarray, "m k"]:
    """Dirichlet laws over `counts` levels each, mixed with the uniform law; 0 beyond that number of levels."""
    inside = np.arange(counts.max()) < counts[:, None]
    drawn = rng.standard_gamma(concentration[:, None], inside.shape) + 1e-300
    drawn = np.where(inside, drawn, 0.0)
    law = drawn / drawn.sum(-1, keepdims=True)
    return (1 - UNIFORM_WEIGHT) * law + UNIFORM_WEIGHT * inside / counts[:, None]


def from_probability_table(
    rng: np.random.Generator,
    parents: Int[ndarray, "b p n"],
    sizes: Int[ndarray, "b p"],
    counts: Counts,
    concentration: Float[ndarray, "b"],
) -> Codes:
    """Levels from a probability table, with one random law per combination of the parents' levels.

    Args:
        rng: source of all randomness.
        parents: codes of the parents from 0; 0 where there is no parent.
        sizes: numbers of levels of the parents, 1 where there is no parent.
        counts: numbers of levels of the variable.
        concentration: concentration of the Dirichlet laws; with small ones the parents are decisive.
    """
    steps = np.cumprod(sizes, axis=1)
    cell = (parents * np.concatenate([np.ones_like(steps[:, :1]), steps[:, :-1]], axis=1)[..., None]).sum(1)
    rows = steps[:, -1]
    law = dirichlet_laws(rng, np.repeat(concentration, rows), np.repeat(counts, rows))
    edges = law.cumsum(-1)[cell + (np.cumsum(rows) - rows)[:, None]]
    return _count_below(rng.random(cell.shape)[..., None] > edges, counts)


def from_scores(rng: np.random.Generator, parents: Parents, present: Present, counts: Counts) -> Codes:
    """Unordered levels: softmax over random weighted sums of the standardised parents."""
    b, p, n = parents.shape
    most = int(counts.max())
    weights = rng.standard_normal((b, most, p)) * present[:, None] * rng.uniform(1, 3, (b, 1, 1))
    score = weights @ standardised(parents) + rng.normal(0, 0.5, (b, most, 1)) + rng.gumbel(size=(b, most, n))
    score[np.arange(most) >= counts[:, None]] = -np.inf
    return score.argmax(1)


def by_cuts(rng: np.random.Generator, values: Float[ndarray, "b n"], counts: Counts) -> Codes:
    """Ordered levels: a number of about standard normal law, cut at random thresholds (ordered probit)."""
    cuts = ndtri(np.clip(dirichlet_laws(rng, np.full(len(counts), 3.0), counts).cumsum(-1), 0, 1))
    return _count_below(values[..., None] > cuts[:, None], counts)


def _count_below(over: Bool[ndarray, "b n k"], counts: Counts) -> Codes:
    return np.minimum(over.sum(-1), counts[:, None] - 1)


def random_level_values(rng: np.random.Generator, codes: Int[ndarray, "m n"], most: int) -> Float[ndarray, "m n"]:
    """A random number for each level, so that a parent with levels can enter a numeric mechanism."""
    return np.take_along_axis(rng.standard_normal((len(codes), most)), codes, axis=1)
