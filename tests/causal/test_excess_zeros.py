"""Excess zeros: counts with more zeros than Poisson's law of their mean."""

import numpy as np

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
