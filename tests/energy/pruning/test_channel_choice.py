"""The choice of widths: staircases, ties, budgets met exactly, and every choice of small cases."""

from itertools import pairwise, product

import numpy as np
import pytest

from intaglio.energy.pruning.channel_choice import WidthLadder, chosen_levels, falling_levels


def ladder(costs, lost):
    return WidthLadder(tuple(map(float, costs)), tuple(map(float, lost)))


def cost(ladders, levels):
    return sum(ladders[scope].costs[level] for scope, level in levels.items())


def lost(ladders, levels):
    return sum(ladders[scope].lost[level] for scope, level in levels.items())


def within(ladders, budget):
    return lambda levels: cost(ladders, levels) <= budget + 1e-9


def every_choice(ladders):
    scopes = list(ladders)
    for levels in product(*(range(len(ladders[scope].costs)) for scope in scopes)):
        yield dict(zip(scopes, levels, strict=True))


def best(ladders, budget):
    """The least importance that any levels within the budget lose."""
    return min(lost(ladders, levels) for levels in every_choice(ladders) if within(ladders, budget)(levels))


def random_ladders(seed, tile):
    draw = np.random.default_rng(seed)
    ladders = {}
    for scope in "abc":
        widths = np.arange(6, 0, -1)
        importance = np.sort(draw.exponential(size=6))
        costs = draw.uniform(0.5, 3) * tile * np.ceil(widths / tile)
        ladders[scope] = ladder(costs, [0, *np.cumsum(importance)[:5]])
    return ladders


@pytest.mark.parametrize("tile", [1, 2, 4])
@pytest.mark.parametrize("seed", range(4))
def test_budgets_that_are_met_exactly_have_the_best_choice(seed, tile):
    ladders = random_ladders(seed, tile)
    path = falling_levels(ladders)
    assert cost(ladders, path[-1]) == pytest.approx(min(cost(ladders, levels) for levels in every_choice(ladders)))
    for levels in path:
        budget = cost(ladders, levels)
        found = chosen_levels(ladders, within(ladders, budget))
        assert found is not None
        assert lost(ladders, found) == pytest.approx(best(ladders, budget))


@pytest.mark.parametrize("tile", [1, 2])
@pytest.mark.parametrize("seed", range(4))
def test_any_budget_is_kept_and_at_most_one_move_is_lost_to_the_best(seed, tile):
    ladders = random_ladders(seed, tile)
    path = falling_levels(ladders)
    moves = [lost(ladders, now) - lost(ladders, last) for last, now in pairwise(path)]
    for budget in np.linspace(cost(ladders, path[-1]), cost(ladders, path[0]), 7):
        found = chosen_levels(ladders, within(ladders, budget))
        assert found is not None
        assert within(ladders, budget)(found)
        assert best(ladders, budget) - 1e-9 <= lost(ladders, found) <= best(ladders, budget) + max(moves)
        narrower = {scope: level - 1 for scope, level in found.items() if level}
        for scope, level in narrower.items():  # no scope could be one level wider
            assert not within(ladders, budget)({**found, scope: level})


def test_a_stretch_of_equal_costs_is_crossed_in_one_move_and_never_ended_within():
    stairs = {"a": ladder([8, 8, 8, 4, 4, 4], [0, 1, 2, 3, 4, 5]), "b": ladder([6, 5, 4], [0, 10, 20])}
    assert falling_levels(stairs)[1] == {"a": 3, "b": 0}
    assert chosen_levels(stairs, within(stairs, 10)) == {"a": 3, "b": 0}
    assert chosen_levels(stairs, within(stairs, 9)) == {"a": 3, "b": 1}


def test_of_equal_prices_the_first_scope_and_the_nearest_level_moves():
    even = {"b": ladder([3, 2, 1], [0, 1, 2]), "a": ladder([3, 2, 1], [0, 1, 2])}
    assert falling_levels(even)[:3] == [{"b": 0, "a": 0}, {"b": 1, "a": 0}, {"b": 2, "a": 0}]


def test_what_costs_more_though_it_is_narrower_is_passed_over():
    uneven = {"a": ladder([5.0, 5.5, 4.0], [0, 1, 2])}
    assert falling_levels(uneven) == [{"a": 0}, {"a": 2}]


def test_budgets_out_of_reach_and_budgets_that_nothing_must_leave_for():
    ladders = random_ladders(0, 1)
    path = falling_levels(ladders)
    assert chosen_levels(ladders, within(ladders, cost(ladders, path[-1]) - 0.1)) is None
    assert chosen_levels(ladders, within(ladders, cost(ladders, path[0]))) == dict.fromkeys(ladders, 0)
    assert chosen_levels({}, lambda levels: True) == {}


def test_the_last_move_gives_back_what_the_budget_leaves():
    # The bargain of the second scope overshoots; the first one's dear move is then not needed.
    ladders = {"a": ladder([4, 3], [0, 1]), "b": ladder([10, 2], [0, 16])}
    assert chosen_levels(ladders, within(ladders, 6)) == {"b": 1, "a": 0}


def test_the_dearest_move_is_given_back_first():
    # All three move, at prices 1, 2 and 8, and cost 10; of the 2 that are left a or b could take its move back.
    ladders = {"a": ladder([4, 2], [0, 2]), "b": ladder([5, 3], [0, 4]), "c": ladder([13, 5], [0, 64])}
    assert chosen_levels(ladders, within(ladders, 12)) == {"a": 1, "b": 0, "c": 1}, "b lost more than a"


def test_a_ladder_of_unlike_lengths_is_refused():
    with pytest.raises(ValueError, match="for each of its levels"):
        WidthLadder((1.0,), ())
