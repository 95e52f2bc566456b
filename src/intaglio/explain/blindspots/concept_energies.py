"""Energies of concepts in real and in generated pictures, and how far they lie apart."""

from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.special import expit

from intaglio.randomness import numpy_generator

Rule = Literal["share", "difference"]
"""share: the generated pictures' part of both energies; difference: a logistic function of their difference."""
FLOOR = 0.01
"""Share of the median energy that is added to every energy."""
DRAWS = 1000
"""Resamples of the pairs."""
EXTREMES = (0.1, 0.9)
"""Bounds of delta by `difference` beyond which a concept counts as suppressed or exaggerated."""


def floor_of(real: Float[ndarray, "k"], generated: Float[ndarray, "k"]) -> float:
    """Number added to energies before ratios are taken: a hundredth of the median over concepts of their mean."""
    return FLOOR * float(np.median((real + generated) / 2)) if len(real) else 0.0


def deltas(
    real: Float[ndarray, "k"], generated: Float[ndarray, "k"], rule: Rule, temperature: float
) -> Float[ndarray, "k"]:
    """Delta of each concept, in [0, 1]: 1/2 where the energies are equal, less where the generated one is smaller.

    By `share` it is (E_gen + e) / (E_gen + E_real + 2 e) with e of `floor_of`; by `difference`
    1 / (1 + exp(-(E_gen - E_real) / temperature)), the published form, which depends on the units of the codes.
    """
    if rule == "difference":
        return expit((generated - real) / temperature)
    small = floor_of(real, generated)
    return (generated + small) / np.maximum(generated + real + 2 * small, 1e-300)


def log_ratios(real: Float[ndarray, "*b k"], generated: Float[ndarray, "*b k"], floor: float) -> Float[ndarray, "*b k"]:
    """Natural logarithm of (E_gen + e) / (E_real + e)."""
    small = max(floor, 1e-300)
    return np.log(generated + small) - np.log(real + small)


def ratio_intervals(
    real: Float[ndarray, "n k"], generated: Float[ndarray, "n k"], floor: float, seed: int
) -> Float[ndarray, "2 k"]:
    """Bounds of 95% of the log ratios, by resampling pairs; codes summed over each picture are given."""
    count = len(real)
    weights = numpy_generator(seed, 1).multinomial(count, np.full(count, 1 / count), DRAWS) / count
    return np.quantile(log_ratios(weights @ real, weights @ generated, floor), [0.025, 0.975], axis=0)
