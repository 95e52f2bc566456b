"""How a variable depends on its parents, a batch at a time: each mechanism draws its parameters and gives f(parents).

`parents` is [tables, most parents, rows] and `present` says which of them are there; columns that are not there have
no effect. Linear and random Fourier features are on AVICI's scale (arXiv 2205.12934); the others see parents that are
standardised over the rows, which only chooses their parameters, and give values of about unit spread.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

Parents = Float[ndarray, "b p n"]
Present = Bool[ndarray, "b p"]
Values = Float[ndarray, "b n"]
TABLES_PER_CHUNK = 24
"""Tables whose random features are worked on together, so that they stay in the processor's cache."""


@dataclass(frozen=True)
class Scales:
    """Ranges of the parameters."""

    weights: tuple[tuple[float, float], ...] = ((1.0, 3.0), (0.25, 2.0), (2.0, 4.0), (0.25, 4.0))
    """Of the size of a linear weight; one range is drawn a table, the sign a weight."""
    length: tuple[float, float] = (7.0, 10.0)
    """Length scale of random Fourier features."""
    controlled_length: tuple[float, float] = (0.5, 3.0)
    """The same where every parent has unit variance."""
    height: tuple[float, float] = (10.0, 20.0)
    """Their standard deviation."""
    features: int = 100


def standardised(values: Float[ndarray, "*b n"]) -> Float[ndarray, "*b n"]:
    """Mean 0 and variance 1 over the rows; all 0 where they do not vary."""
    centred = values - values.mean(-1, keepdims=True)
    spread = np.sqrt((centred**2).mean(-1, keepdims=True))
    return centred / np.where(spread > 1e-9 * (1 + np.abs(values).max(-1, keepdims=True)), spread, np.inf)


def linear(
    rng: np.random.Generator, parents: Parents, present: Present, controlled: Bool[ndarray, "b"], scales: Scales
) -> Values:
    """A weighted sum."""
    low, high = np.asarray(scales.weights)[rng.integers(len(scales.weights), size=len(parents))].T
    weights = _signed(rng, present, low[:, None], high[:, None])
    return (weights[:, None] @ parents)[:, 0]


def fourier(
    rng: np.random.Generator, parents: Parents, present: Present, controlled: Bool[ndarray, "b"], scales: Scales
) -> Values:
    """Random Fourier features: about a draw from a Gaussian process with a squared-exponential kernel."""
    count = len(parents)
    length = np.where(controlled, rng.uniform(*scales.controlled_length, count), rng.uniform(*scales.length, count))
    return rng.uniform(*scales.height, (count, 1)) * random_features(rng, parents, present, length, scales.features)


def random_features(
    rng: np.random.Generator, parents: Parents, present: Present, length: Float[ndarray, "b"], count: int
) -> Values:
    """√(2/K) Σ w cos(ω·x + φ), of unit variance over the draws of w, ω and φ."""
    b, p, _ = parents.shape
    frequency = rng.standard_normal((b, count, p), np.float32) * (present / length[:, None]).astype(np.float32)[:, None]
    phase = rng.random((b, count, 1), np.float32) * np.float32(2 * np.pi)
    weight = rng.standard_normal((b, 1, count), np.float32) * np.float32(np.sqrt(2 / count))
    found = np.empty((b, parents.shape[2]))
    for at in range(0, b, TABLES_PER_CHUNK):
        part = slice(at, at + TABLES_PER_CHUNK)
        angle = frequency[part] @ _centred(parents[part])
        angle += phase[part]
        np.cos(angle, out=angle)
        found[part] = (weight[part] @ angle)[:, 0]
    return found


def _centred(parents: Parents) -> Float[ndarray, "b p n"]:
    """Parents in single precision around their mean: raw ones may lie far out, and a shift is made up for by φ."""
    return (parents - parents.mean(-1, keepdims=True)).astype(np.float32)


def network(
    rng: np.random.Generator, parents: Parents, present: Present, controlled: Bool[ndarray, "b"], scales: Scales
) -> Values:
    """One hidden layer of 8 to 32 tanh units."""
    b, p, _ = parents.shape
    width = int(rng.integers(8, 33))
    inner = rng.standard_normal((b, width, p)) * present[:, None]
    hidden = np.tanh(inner @ standardised(parents) + rng.standard_normal((b, width, 1)))
    return (rng.standard_normal((b, 1, width)) @ hidden)[:, 0] / np.sqrt(width)


def product(
    rng: np.random.Generator, parents: Parents, present: Present, controlled: Bool[ndarray, "b"], scales: Scales
) -> Values:
    """The product of 1 + w x over the parents, |w| from 0.3 to 0.9, so that each acts as the others let it."""
    weights = _signed(rng, present, 0.3, 0.9)
    return np.prod(1 + weights[..., None] * np.clip(standardised(parents), -3, 3), axis=1)


def saturating(
    rng: np.random.Generator, parents: Parents, present: Present, controlled: Bool[ndarray, "b"], scales: Scales
) -> Values:
    """A weighted sum of steps, sharp in half of the tables and soft in the others, at a level drawn for each parent."""
    b, p, _ = parents.shape
    level, sharp = rng.uniform(-1, 1, (b, p, 1)), rng.random((b, 1, 1)) < 0.5
    over = standardised(parents) - level
    weights = _signed(rng, present, 0.5, 1.5)
    return (weights[:, None] @ np.where(sharp, np.sign(over), np.tanh(2 * over)))[:, 0]


def _signed(
    rng: np.random.Generator, present: Present, low: Float[ndarray, "b 1"] | float, high: Float[ndarray, "b 1"] | float
) -> Float[ndarray, "b p"]:
    size = low + (high - low) * rng.random(present.shape)
    return np.where(rng.random(present.shape) < 0.5, -size, size) * present


Mechanism = Callable[[np.random.Generator, Parents, Present, Bool[ndarray, "b"], Scales], Values]
MECHANISMS: dict[str, Mechanism] = {
    "linear": linear,
    "fourier": fourier,
    "network": network,
    "product": product,
    "saturating": saturating,
    "post-nonlinear": linear,
}
"""After `post-nonlinear`'s noise is added, one of `BENDS` acts on the sum."""
MECHANISM_SHARES = {
    "linear": 0.35,
    "fourier": 0.35,
    "network": 0.1,
    "product": 0.05,
    "saturating": 0.05,
    "post-nonlinear": 0.1,
}
"""Shares of the mechanisms where nothing else is asked for; they sum to 1."""
BENDS: tuple[Callable[[Values], Values], ...] = (np.cbrt, np.sinh, lambda u: np.tanh(1.5 * u))
"""Invertible: a cube root, a hyperbolic sine, a sigmoid."""


def with_bend(rng: np.random.Generator, values: Values) -> Values:
    """One of `BENDS` a table, on values standardised over the rows."""
    which, found = rng.integers(len(BENDS), size=len(values)), standardised(values)
    for k, bend in enumerate(BENDS):
        found[which == k] = bend(found[which == k])
    return found


def interaction(rng: np.random.Generator, parents: Parents, present: Present) -> tuple[Values, Present]:
    """The product of two random parents, and which of the others are left for the mechanism itself."""
    score = np.where(present, rng.random(present.shape), -1.0)
    pair = np.argsort(-score, axis=1)[:, :2]
    tables = np.arange(len(parents))[:, None]
    left = present.copy()
    left[tables, pair] = False
    return standardised(np.prod(standardised(parents[tables, pair]), axis=1)), left
