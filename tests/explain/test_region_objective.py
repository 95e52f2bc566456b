import itertools
import math
from types import SimpleNamespace

import pytest
import torch

from explain_scenes import SIDE, additive, pictures, untrained
from intaglio.explain.blank import blank_of, chosen_blank
from intaglio.explain.methods.lima import two_ended_order, two_ended_sets
from intaglio.explain.methods.smdl import greedy_order
from intaglio.explain.region_objective import ObjectiveWeights, RegionObjective, ordered_values
from intaglio.explain.regions import grid_regions, painted, ranked_regions, segments, without_blanks
from intaglio.explain.revealed_scores import RevealedScores


class Planted(RegionObjective):
    """A worth of sets that is no network's."""

    def __init__(self, worth, count):
        counted = SimpleNamespace(count=count)
        weights = ObjectiveWeights(0.0, 0.0, 1.0, 1.0)
        for name, value in {"worth": worth, "asked": 0, "revealed": counted, "weights": weights}.items():
            object.__setattr__(self, name, value)

    def values(self, keep):
        object.__setattr__(self, "asked", self.asked + len(keep))
        return torch.tensor([self.worth(frozenset(row.nonzero().flatten().tolist())) for row in keep]).double()


def coverage(seed, count=10, places=30):
    """Submodular: the places that sets of a cover, weighted."""
    source = torch.Generator().manual_seed(seed)
    sets = torch.rand(count, places, generator=source) < 0.15
    weights = torch.rand(places, generator=source)
    return lambda chosen: float(weights[sets[list(chosen)].any(0)].sum()) if chosen else 0.0


def revealed(scored, cut=None):
    (pixels,) = pictures(1).pixels
    regions = grid_regions(SIDE, SIDE, 4) if cut is None else cut
    return RevealedScores(scored, pixels, torch.ones_like(pixels), regions, 0)


def test_a_set_shows_its_regions_and_is_asked_once():
    sets = revealed(additive(torch.tensor([1.0, 2.0, 4.0, 8.0])))
    every = torch.tensor(list(itertools.product([False, True], repeat=4)))
    expected = every.float() @ torch.tensor([1.0, 2.0, 4.0, 8.0])
    torch.testing.assert_close(sets.scores(every), expected)
    torch.testing.assert_close(sets.scores(every.flip(0)), expected.flip(0))
    assert sets.passes == 16


def test_the_worth_of_four_regions_by_hand():
    sets = revealed(untrained())
    weights = ObjectiveWeights(0.5, 0.7, 2.0, 3.0)
    objective = RegionObjective(sets, weights)
    features = torch.nn.functional.normalize(sets.alone(), dim=1)
    for chosen in ((0,), (0, 2), (0, 1, 3)):
        keep = torch.zeros(1, 4, dtype=torch.bool)
        keep[0, list(chosen)] = True
        with torch.no_grad():
            shown = torch.where(keep[0][sets.regions], sets.pixels, sets.blank)
            hidden = torch.where(keep[0][sets.regions], sets.blank, sets.pixels)
            p, q = (sets.scored.logits(one[None])[0].softmax(0).double() for one in (shown, hidden))
        confidence = 1 - float(-(p * p.log()).sum()) / math.log(3)
        variety = sum(
            min(math.acos(min(1.0, float(features[i] @ features[j]))) / math.pi for j in chosen if j != i)
            for i in chosen
            if len(chosen) > 1
        )
        expected = 0.5 * confidence + 0.7 * variety + 2 * float(p[0]) + 3 * (1 - float(q[0]))
        assert float(objective.values(keep)) == pytest.approx(expected, abs=1e-4)


def test_the_second_choice_by_variety_alone_is_no_copy_of_the_first():
    sets = revealed(untrained())
    found = RegionObjective(sets, ObjectiveWeights(0.0, 1.0, 0.0, 0.0))
    alone = torch.eye(4)[[0, 0, 1, 2]]  # regions 0 and 1 look the same
    sets._alone = alone
    order, _ = greedy_order(found, 3)
    assert not {0, 1} <= set(order[:2])


@pytest.mark.parametrize("seed", range(5))
def test_a_greedy_choice_of_a_covering_is_near_the_best(seed):
    """For a submodular, monotone worth it is at least (1 - 1/e) of the best set of its size."""
    worth = coverage(seed)
    order, gains = greedy_order(Planted(worth, 10), 4)
    best = max(worth(frozenset(one)) for one in itertools.combinations(range(10), 4))
    assert sum(gains) == pytest.approx(worth(frozenset(order)))
    assert worth(frozenset(order)) >= (1 - 1 / math.e) * best
    assert gains == sorted(gains, reverse=True)


def test_from_both_ends_a_sum_is_ordered_as_from_one():
    terms = [3.0, -1.0, 0.5, 7.0, 2.0, -4.0, 0.1, 5.0, 1.0, -0.2, 6.0, 0.7]
    found = Planted(lambda chosen: sum(terms[one] for one in chosen), 12)
    assert two_ended_order(found, 3) == sorted(range(12), key=lambda one: -terms[one])
    assert found.asked <= two_ended_sets(12, 3)
    assert two_ended_order(Planted(found.worth, 12), 12) == greedy_order(Planted(found.worth, 12), 12)[0]


@pytest.mark.parametrize("seed", range(5))
def test_from_both_ends_a_covering_is_revealed_nearly_as_well(seed):
    worth, areas = coverage(seed, count=16), []
    for order in (two_ended_order(Planted(worth, 16), 4), greedy_order(Planted(worth, 16), 16)[0]):
        assert sorted(order) == list(range(16))
        areas.append(sum(worth(frozenset(order[: k + 1])) for k in range(16)))
    assert areas[0] >= 0.9 * areas[1]


def test_the_sets_that_are_asked_from_both_ends():
    assert two_ended_sets(50, 8) == 834
    assert two_ended_sets(8, 8) == 36
    asked = Planted(coverage(1, count=50), 50)
    two_ended_order(asked, 8)
    assert asked.asked == 834


def test_values_fall_along_an_order_by_what_each_step_changed():
    torch.testing.assert_close(ordered_values([2, 0, 3], [5.0, -1.0, 3.0], 5), torch.tensor([0.75, 0, 1.0, 0, 0]))
    torch.testing.assert_close(ordered_values([1], [2.0], 3), torch.tensor([0.0, 1.0, 0.0]))
    torch.testing.assert_close(ordered_values([1, 0], [0.0, 0.0], 2), torch.zeros(2))


def test_regions_cover_the_picture_and_blank_ones_are_none():
    assert grid_regions(16, 16, 50).unique().tolist() == list(range(49))
    assert grid_regions(8, 32, 16).unique(return_counts=True)[1].tolist() == [16] * 16
    pixels = torch.ones(3, 16, 16)
    pixels[:, :, 8:] = 0.5
    cut = without_blanks(grid_regions(16, 16, 4), pixels, torch.ones_like(pixels))
    assert cut[0, 0] == cut[15, 0] == -1
    assert {int(cut[0, 15]), int(cut[15, 15])} == {0, 1}
    torch.testing.assert_close(
        painted(cut, torch.tensor([2.0, 3.0]))[:, [0, 15]], torch.tensor([[0.0, 2.0]] * 8 + [[0.0, 3.0]] * 8)
    )
    white = torch.ones(3, 16, 16)
    assert int(without_blanks(grid_regions(16, 16, 4), white, white).max()) == 3


def test_segments_follow_colours():
    pixels = torch.zeros(3, 16, 16)
    pixels[0, :, 8:] = 1.0
    cut = segments(pixels, 8)
    left, right = set(cut[:, :8].unique().tolist()), set(cut[:, 8:].unique().tolist())
    assert not left & right
    assert left | right == set(range(int(cut.max()) + 1))


def test_ranked_regions_hold_squares_of_like_importance():
    importance = torch.arange(400.0).view(20, 20)
    ranked = ranked_regions(importance, 5)
    assert ranked.unique(return_counts=True)[1].tolist() == [80] * 5
    means = [float(importance[ranked == one].mean()) for one in range(5)]
    assert means == sorted(means, reverse=True)


def test_the_blank_is_white_on_white_and_else_the_mean():
    white, grey = torch.ones(3, 16, 16), torch.full((3, 16, 16), 0.25)
    white[:, 6:10, 6:10] = 0
    assert (chosen_blank("auto", white), chosen_blank("auto", grey), chosen_blank("mean", white)) == (
        "white",
        "mean",
        "mean",
    )
    assert float(blank_of("auto", grey).mean()) == 0.25
    assert float(blank_of("blurred", white)[:, 8, 8].mean()) > 0.3
