"""A planted randomised trial, whose effects are a linear function of the first feature."""

from collections.abc import Callable

import numpy as np
from numpy import ndarray

from intaglio.causal.cate.trial_units import TrialUnits


def planted(
    count: int, seed: int, gain: float = 1.0, propensity: Callable[[ndarray], ndarray] | None = None
) -> tuple[TrialUnits, ndarray]:
    """Y = x_1 + 2 x_2 + W (1/2 + gain x_0) + noise; and the effects."""
    source = np.random.default_rng(seed)
    features = source.standard_normal((count, 3))
    chance = np.full(count, 0.4) if propensity is None else propensity(features)
    treated = source.random(count) < chance
    effects = 0.5 + gain * features[:, 0]
    outcome = features[:, 1] + 2 * features[:, 2] + treated * effects + 0.5 * source.standard_normal(count)
    names = tuple(f"u{k:05d}" for k in range(count))
    return TrialUnits(names, outcome, treated, chance, features), effects
