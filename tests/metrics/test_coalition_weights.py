"""Effects as weighted sums of values, held against orders that are gone through one by one."""

from itertools import permutations

import numpy as np
import pytest

from intaglio.metrics.coalition_weights import (
    sampled_shapley_weights,
    shapley_weights,
    switched_off_weights,
    switched_on_weights,
)


def values_of(weights, value):
    return np.array([value(frozenset(i for i in range(20) if one >> i & 1)) for one in weights.coalitions])


def planted(on):
    """A distance from a mean that two components shift more together than apart."""
    mean = sum((1, 0.5, 0.25)[i] for i in on) + (0.6 if {0, 1} <= on else 0)
    return -((mean - 2.35) ** 2)


def by_orders(value, components):
    found, orders = np.zeros(components), list(permutations(range(components)))
    for order in orders:
        for place, i in enumerate(order):
            before = frozenset(order[:place])
            found[i] += (value(before | {i}) - value(before)) / len(orders)
    return found


def test_exact_weights_are_the_mean_over_all_orders():
    weights = shapley_weights(3)
    found = weights.mean @ values_of(weights, planted)
    assert found == pytest.approx([3.18, 1.705, 0.6375])
    assert found == pytest.approx(by_orders(planted, 3))
    assert found.sum() == pytest.approx(planted({0, 1, 2}) - planted(set()))


def test_one_that_does_nothing_has_nothing_and_equals_have_equal_parts():
    weights = shapley_weights(4)
    found = weights.mean @ values_of(weights, lambda on: 3.0 * bool(on & {1, 2}) + 2.0 * (0 in on))
    assert found == pytest.approx([2, 1.5, 1.5, 0])


def test_orders_come_with_their_reverse_and_agree_with_all_of_them():
    weights, exact = sampled_shapley_weights(5, 400, seed=3), shapley_weights(5)
    value = lambda on: float(len(on) ** 2 + 3 * (0 in on) * (4 in on) - (1 in on) * len(on))  # noqa: E731
    groups = weights.groups @ values_of(weights, value)
    assert groups.shape == (200, 5)
    error = groups.std(0, ddof=1) / 200**0.5
    wanted = exact.mean @ values_of(exact, value)
    assert (np.abs(groups.mean(0) - wanted) <= 3.5 * error + 1e-12).all()
    assert groups.sum(1) == pytest.approx(value(set(range(5))) - value(set()))
    # A sum of pairwise effects is told exactly by an order and its reverse.
    pairs = groups - wanted
    assert np.abs(pairs).max() < 1e-9


def test_other_seeds_take_other_orders():
    one, other = (sampled_shapley_weights(6, 4, seed) for seed in (0, 1))
    assert one.coalitions != other.coalitions


def test_one_alone_switched_off_or_on():
    for weights, wanted in (
        (switched_off_weights(3), [planted({0, 1, 2}) - planted({0, 1, 2} - {i}) for i in range(3)]),
        (switched_on_weights(3), [planted({i}) - planted(set()) for i in range(3)]),
    ):
        assert weights.mean @ values_of(weights, planted) == pytest.approx(wanted)
        assert len(weights.coalitions) == 5
        assert weights.coalitions[weights.ends[0]] == 0
        assert weights.coalitions[weights.ends[1]] == 7
