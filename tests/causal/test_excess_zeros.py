"""Excess zeros: counts with more zeros than Poisson's law of their mean, and logarithms of such counts."""

import numpy as np
import pytest

from intaglio.causal.tables.excess_zeros import columns_of_excess_zeros


def test_dropped_counts_are_seen_and_poisson_counts_are_let_be():
    random = np.random.default_rng(0)
    dropped = random.poisson(4.0, 500) * (random.random(500) < 0.6)
    poisson, few = random.poisson(4.0, 500), random.poisson(0.3, 500)
    numbers, codes = random.standard_normal(500), (random.random(500) < 0.1) * 5
    values = np.stack([dropped, poisson, few, numbers, codes], 1).astype(float)
    assert columns_of_excess_zeros(values, ("continuous",) * 4 + ("nominal",)) == [0]
    values[::3, 0] = np.nan
    assert columns_of_excess_zeros(values, ("continuous",) * 4 + ("nominal",)) == [0]
    values[:, 0] = np.nan
    assert columns_of_excess_zeros(values, ("continuous",) * 4 + ("nominal",)) == []


RANDOM = np.random.default_rng(1)
KEPT = RANDOM.random(800) < 0.6
COUNTS, DEPTH = RANDOM.poisson(4.0, 800), RANDOM.lognormal(0, 0.3, 800)
LOGARITHMS = {
    "natural": np.log1p(COUNTS * KEPT),
    "of base 2, in single precision": np.log2(1.0 + COUNTS * KEPT).astype(np.float32).astype(float),
    "at unit variance": np.log1p(COUNTS * KEPT) / 0.37 - 1.2,
    "of counts by depth": np.log1p(1e4 * COUNTS * KEPT / DEPTH),
    "of more than a half": np.log(COUNTS * KEPT + 0.5),
    "of a continuous amount": np.log1p(RANDOM.lognormal(1, 1, 800) * KEPT),
}
OTHERS = {
    "logarithms of Poisson's counts": np.log1p(RANDOM.poisson(1.2, 800)),
    "numbers": RANDOM.standard_normal(800),
    "cut at the lowest tenth": np.maximum(RANDOM.standard_normal(800), -1.28),
    "steps of a half from the least": np.maximum(np.round(RANDOM.standard_normal(800) * 8) / 2, -1.5),
    "whole numbers from 1": 1.0 + RANDOM.poisson(4.0, 800) * KEPT,
    "a few fractions": RANDOM.choice([0.0, 0.3, 1.1, 2.7], 800),
    "one number": np.full(800, 0.5),
}


@pytest.mark.parametrize("name", LOGARITHMS)
def test_logarithms_of_dropped_counts_are_seen(name):
    column = LOGARITHMS[name].copy()
    assert columns_of_excess_zeros(column[:, None], ("continuous",)) == [0]
    assert columns_of_excess_zeros(column[:, None], ("nominal",)) == []
    column[::3] = np.nan
    assert columns_of_excess_zeros(column[:, None], ("continuous",)) == [0]


@pytest.mark.parametrize("name", OTHERS)
def test_other_numbers_are_let_be(name):
    assert columns_of_excess_zeros(OTHERS[name][:, None], ("continuous",)) == []
