"""Families of noise of unit scale, drawn in batches and clipped at 30 deviations."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray

MAX_DEVIATIONS = 30.0
"""Absolute value at which noise is clipped."""
SD_PER_MAD = 1.4826
"""Ratio of a Gaussian's standard deviation to its median absolute deviation, which scales the Cauchy law."""

Shape = tuple[int, int, int]
"""(tables, variables, rows); shape parameters are drawn once per table."""
Noise = Float[ndarray, "b d n"]


def gaussian(rng: np.random.Generator, shape: Shape) -> Noise:
    """Mean 0, variance 1."""
    return rng.standard_normal(shape)


def laplace(rng: np.random.Generator, shape: Shape) -> Noise:
    """Mean 0, variance 1, kurtosis 6."""
    return rng.laplace(scale=np.sqrt(0.5), size=shape)


def uniform(rng: np.random.Generator, shape: Shape) -> Noise:
    """Mean 0, variance 1, kurtosis 1.8."""
    return rng.uniform(-np.sqrt(3), np.sqrt(3), shape)


def student(rng: np.random.Generator, shape: Shape) -> Noise:
    """Student's t with 3 to 8 degrees of freedom, drawn per table; mean 0, variance 1."""
    freedom = rng.uniform(3, 8, (shape[0], 1, 1))
    return rng.standard_t(freedom, shape) * np.sqrt((freedom - 2) / freedom)


def exponential(rng: np.random.Generator, shape: Shape) -> Noise:
    """Mean 0, variance 1, skewness 2."""
    return rng.standard_exponential(shape) - 1.0


def gumbel(rng: np.random.Generator, shape: Shape) -> Noise:
    """Mean 0, variance 1, skewness 1.14."""
    scale = np.sqrt(6) / np.pi
    return rng.gumbel(-np.euler_gamma * scale, scale, shape)


def mixture(rng: np.random.Generator, shape: Shape) -> Noise:
    """Two Gaussians of equal width, means 1 to 4 deviations apart, weights 0.2 to 0.8; mean 0, variance 1."""
    share, gap = rng.uniform(0.2, 0.8, (shape[0], 1, 1)), rng.uniform(1, 4, (shape[0], 1, 1))
    centre = gap * ((rng.random(shape) < share) - share)
    return (centre + rng.standard_normal(shape)) / np.sqrt(1 + share * (1 - share) * gap**2)


def cauchy(rng: np.random.Generator, shape: Shape) -> Noise:
    """Median 0, median absolute deviation that of a standard Gaussian; without variance."""
    return rng.standard_cauchy(shape) / SD_PER_MAD


NOISES: dict[str, Callable[[np.random.Generator, Shape], Noise]] = {
    "gaussian": gaussian,
    "laplace": laplace,
    "uniform": uniform,
    "student": student,
    "exponential": exponential,
    "gumbel": gumbel,
    "mixture": mixture,
    "cauchy": cauchy,
}
NOISE_SHARES = {"gaussian": 0.5, "laplace": 0.12, "uniform": 0.1, "student": 0.1, "exponential": 0.04, "gumbel": 0.04}
NOISE_SHARES |= {"mixture": 0.08, "cauchy": 0.02}
"""Default shares of the families; they sum to 1."""


def draw_noise(rng: np.random.Generator, families: Sequence[str], variables: int, rows: int) -> Noise:
    """Noise [tables, variables, rows], with the family of each table."""
    found = np.empty((len(families), variables, rows))
    for name in sorted(set(families)):
        chosen = [k for k, family in enumerate(families) if family == name]
        found[chosen] = NOISES[name](rng, (len(chosen), variables, rows))
    return np.clip(found, -MAX_DEVIATIONS, MAX_DEVIATIONS, out=found)
