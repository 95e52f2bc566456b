"""Causal mechanisms, in batches: each draws its parameters and returns f(parents).

`parents` is [tables, most parents, rows], and `present` masks those that exist; others have no effect. Linear and
random Fourier features have AVICI's scale (arXiv 2205.12934); the others take parents standardised over the rows, which
amounts to a choice of parameters, and return values of about unit variance.
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
"""Tables whose random features are computed together, so that they fit the processor's cache."""


@dataclass(frozen=True)
class Scales:
    """Ranges of the mechanisms' parameters."""

    weights: tuple[tuple[float, float], ...] = ((1.0, 3.0), (0.25, 2.0), (2.0, 4.0), (0.25, 4.0))
    """Ranges of absolute linear weights; one range is drawn per table, a sign per weight."""
    length: tuple[float, float] = (7.0, 10.0)
    """Range of the length scale of random Fourier features, drawn per table."""
    controlled_length: tuple[float, float] = (0.5, 3.0)
    """Range of the length scale where every parent has unit variance."""
    height: tuple[float, float] = (10.0, 20.0)
    """Range of the standard deviation of random Fourier features, drawn per table."""
    features: int = 100
    """Number of random Fourier features."""


def standardised(values: Float[ndarray, "*b n"]) -> Float[ndarray, "*b n"]:
    """Values with mean 0 and variance 1 over the rows; 0 where they are constant."""
    centred = values - values.mean(-1, keepdims=True)
    spread = np.sqrt((centred**2).mean(-1, keepdims=True))
    return centred / np.where(spread > 1e-9 * (1 + np.abs(values).max(-1, keepdims=True)), spread, np.inf)


def linear(
    rng: np.random.Generator, parents: Parents, present: Present, controlled: Bool[ndarray, "b"], scales: Scales
) -> Values:
    """A weighted sum of the parents."""
    low, high = np.asarray(scales.weights)[rng.integers(len(scales.weights), size=len(parents))].T
    weights = _signed(rng, present, low[:, None], high[:, None])
    return (weights[:, None] @ parents)[:, 0]


def fourier(
    rng: np.random.Generator, parents: Parents, present: Present, controlled: Bool[ndarray, "b"], scales: Scales
) -> Values:
    """Random Fourier features, which approximate a draw from a Gaussian process with squared-exponential kernel."""
    count = len(parents)
    length = np.where(controlled, rng.uniform(*scales.controlled_length, count), rng.uniform(*scales.length, count))
    return rng.uniform(*scales.height, (count, 1)) * random_features(rng, parents, present, length, scales.features)


def random_features(
    rng: np.random.Generator, parents: Parents, present: Present, length: Float[ndarray, "b"], count: int
) -> Values:
    """√(2/K) Σ w cos(ω·x + φ) with K features; unit variance over the draws of w, ω and φ."""
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
    """Centred parents in single precision: raw ones may be large, and a shift only changes the phase φ."""
    return (parents - parents.mean(-1, keepdims=True)).astype(np.float32)


def network(
    rng: np.random.Generator, parents: Parents, present: Present, controlled: Bool[ndarray, "b"], scales: Scales
) -> Values:
    """A random network with one hidden layer of 8 to 32 tanh units."""
    b, p, _ = parents.shape
    width = int(rng.integers(8, 33))
    inner = rng.standard_normal((b, width, p)) * present[:, None]
    hidden = np.tanh(inner @ standardised(parents) + rng.standard_normal((b, width, 1)))
    return (rng.standard_normal((b, 1, width)) @ hidden)[:, 0] / np.sqrt(width)


def product(
    rng: np.random.Generator, parents: Parents, present: Present, controlled: Bool[ndarray, "b"], scales: Scales
) -> Values:
    """The product of 1 + w x over the parents, |w| from 0.3 to 0.9: each parent modulates the others."""
    weights = _signed(rng, present, 0.3, 0.9)
    return np.prod(1 + weights[..., None] * np.clip(standardised(parents), -3, 3), axis=1)


def saturating(
    rng: np.random.Generator, parents: Parents, present: Present, controlled: Bool[ndarray, "b"], scales: Scales
) -> Values:
    """A weighted sum of steps at thresholds drawn per parent: hard in half of the tables, tanh in the others."""
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
"""Mechanisms by name; `post-nonlinear` also applies one of `BENDS` to the sum of signal and noise."""
MECHANISM_SHARES = {
    "linear": 0.35,
    "fourier": 0.35,
    "network": 0.1,
    "product": 0.05,
    "saturating": 0.05,
    "post-nonlinear": 0.1,
}
"""Default shares of the mechanisms; they sum to 1."""
BENDS: tuple[Callable[[Values], Values], ...] = (np.cbrt, np.sinh, lambda u: np.tanh(1.5 * u))
"""Invertible: a cube root, a hyperbolic sine, a sigmoid."""


def with_bend(rng: np.random.Generator, values: Values) -> Values:
    """Standardised values after one of `BENDS`, drawn per table."""
    which, found = rng.integers(len(BENDS), size=len(values)), standardised(values)
    for k, bend in enumerate(BENDS):
        found[which == k] = bend(found[which == k])
    return found


def interaction(rng: np.random.Generator, parents: Parents, present: Present) -> tuple[Values, Present]:
    """The standardised product of two random parents, and the mask of the parents that are left."""
    score = np.where(present, rng.random(present.shape), -1.0)
    pair = np.argsort(-score, axis=1)[:, :2]
    tables = np.arange(len(parents))[:, None]
    left = present.copy()
    left[tables, pair] = False
    return standardised(np.prod(standardised(parents[tables, pair]), axis=1)), left
