"""The differentiable search: its restarts, its ends, the knowledge it keeps to, and masked steps."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from intaglio.causal.confounding.masked_adam import MaskedAdam
from intaglio.causal.confounding.mixed_graph_learner import MixedGraphLearner, SearchSpace
from intaglio.causal.graphs.admg import ADMG
from linear_admgs import VERMA, rows_of

OTHER = ~torch.eye(4, dtype=torch.bool)
EVERY = SearchSpace(arrows=OTHER, doubles=OTHER, certain=~OTHER & OTHER)


def learner(**changes) -> MixedGraphLearner:
    values = rows_of(ADMG.of("abcd", VERMA), 1000).to_numpy()
    given = {
        "covariance": torch.from_numpy(np.corrcoef(values.T)),
        "scales": torch.ones(4, dtype=torch.float64),
        "rows": 1000,
        "kind": "ancestral",
        "space": EVERY,
        "sparsity": 0.05,
        "threshold": 0.05,
        "stages": 8,
        "rounds_each": 2,
        "steps": 40,
    }
    return MixedGraphLearner(**{**given, **changes})


def searched(made: MixedGraphLearner, restarts: int = 2, **begin):
    state = made.begin(restarts, 0, **begin)
    rounds = sum(1 for _ in made.search(state))
    return state, rounds


def test_restarts_end_with_parameters_of_the_class():
    state, rounds = searched(learner())
    assert state.ended.all()
    assert 0 < rounds <= 8 * 2
    for edges in state.edges.numpy():
        assert ADMG(tuple("abcd"), *edges).belongs_to("ancestral")
    assert torch.equal(state.doubles, state.doubles.mT)
    assert (state.arrows.diagonal(dim1=1, dim2=2) == 0).all()


@pytest.mark.parametrize("kind", ["arid", "bow-free"])
def test_other_classes_are_kept_to_as_well(kind):
    state, _ = searched(learner(kind=kind, steps=20))
    assert all(ADMG(tuple("abcd"), *edges).belongs_to(kind) for edges in state.edges[state.same > 0].numpy())
    assert (state.violated < 0.05).all()


def test_a_restart_is_the_same_however_many_there_are():
    (two, _), (one, _) = searched(learner(), 2), searched(learner(), 1)
    torch.testing.assert_close(two.arrows[:1], one.arrows, rtol=1e-6, atol=1e-8)
    assert torch.equal(learner().begin(3, 5).arrows[:2], learner().begin(2, 5).arrows)
    assert not torch.equal(learner().begin(1, 5).arrows, learner().begin(1, 6).arrows)


def test_what_is_not_allowed_stays_zero_and_what_is_certain_is_not_shrunk():
    none, certain = torch.zeros(2, 4, 4, dtype=torch.bool)
    arrows = OTHER.clone()
    arrows[0, 1] = False
    certain[2, 3] = True
    state, _ = searched(learner(space=SearchSpace(arrows=arrows, doubles=none, certain=certain), sparsity=5.0))
    assert (state.arrows[:, 0, 1] == 0).all()
    assert (state.doubles == 0).all()
    assert (state.arrows[:, 2, 3].abs() > 0.05).all()
    others = state.arrows.clone()
    others[:, 2, 3] = 0
    assert (others.abs() <= 0.05).all()


def test_pairs_outside_of_the_mask_never_move():
    chosen = torch.zeros(4, 4, dtype=torch.bool)
    chosen[0, 1] = chosen[1, 0] = chosen[2, 3] = chosen[3, 2] = True
    made = learner(mask=lambda restart, number, step: chosen)
    begun = made.begin(2, 0)
    state, _ = searched(made)
    for name in ("arrows", "doubles"):
        moved = getattr(state, name) != getattr(begun, name)
        assert not (moved & ~chosen).any()
        assert moved[:, 0, 1].all()


def test_a_mask_of_every_pair_is_no_mask():
    masked, _ = searched(learner(mask=lambda restart, number, step: torch.ones(4, 4, dtype=torch.bool)))
    plain, _ = searched(learner())
    assert torch.equal(masked.arrows, plain.arrows)
    assert torch.equal(masked.doubles, plain.doubles)


def test_the_mask_is_asked_for_by_restart_round_and_step():
    asked = []
    made = learner(stages=1, steps=3, mask=lambda *place: asked.append(place) or OTHER)
    searched(made)
    assert asked == [(k, number, step) for number in range(2) for step in range(3) for k in range(2)]


def test_first_points_are_scaled_by_what_is_to_be_included():
    included = torch.full((4, 4), 0.5, dtype=torch.float64)
    half, whole = learner().begin(1, 0, included), learner().begin(1, 0)
    torch.testing.assert_close(half.arrows, whole.arrows / 2)
    torch.testing.assert_close(half.doubles, whole.doubles / 2)


def test_raw_columns_meet_the_threshold_by_their_standardised_parameters():
    made = replace(learner(), scales=torch.tensor([1.0, 10.0, 1.0, 1.0], dtype=torch.float64))
    arrows, doubles = torch.zeros(2, 4, 4, dtype=torch.float64)
    arrows[0, 1], doubles[1, 2], doubles[2, 1] = 5.0, 2.0, 2.0
    standard = made.standardised(arrows, doubles)
    assert standard[0][0, 1] == pytest.approx(0.5)
    assert standard[1][1, 2] == standard[1][2, 1] == pytest.approx(0.2)


def test_unmasked_coordinates_take_the_steps_of_adam_and_masked_ones_keep_their_moments():
    value = torch.tensor([1.0, 1.0], dtype=torch.float64)
    gradients = [torch.tensor([g, g], dtype=torch.float64) for g in (0.5, -1.0, 2.0)]
    mask = [torch.tensor([True, True]), torch.tensor([True, False]), torch.tensor([True, True])]
    made, nothing = MaskedAdam(value), torch.zeros(2, dtype=torch.float64)
    for gradient, sampled in zip(gradients, mask, strict=True):
        value = made.step(value, gradient, nothing, 0.1, sampled)
    for place, seen in ((0, (0.5, -1.0, 2.0)), (1, (0.5, 2.0))):
        expected, first, second = 1.0, 0.0, 0.0
        for count, g in enumerate(seen, start=1):
            first, second = 0.9 * first + 0.1 * g, 0.99 * second + 0.01 * g * g
            expected -= 0.1 * (first / (1 - 0.9**count)) / ((second / (1 - 0.99**count)) ** 0.5 + 1e-8)
        assert float(value[place]) == pytest.approx(expected, rel=1e-12)


def test_the_proximal_step_sets_small_coordinates_to_zero_and_shrinks_others():
    value, gradient = torch.tensor([0.001, 1.0], dtype=torch.float64), torch.tensor([0.2, 0.2], dtype=torch.float64)
    made = MaskedAdam(value).step(value, gradient, torch.tensor([0.1, 0.1], dtype=torch.float64), 0.01, value > 0)
    # Adam's first step is the rate itself; the shrinkage is rate · 0.1 / 0.2.
    assert float(made[0]) == pytest.approx(0.001 - 0.01 + 0.005, rel=1e-6)
    assert float(made[1]) == pytest.approx(1.0 - 0.01 - 0.005, rel=1e-6)
    held = MaskedAdam(value).step(value, gradient, torch.tensor([5.0, 5.0], dtype=torch.float64), 0.01, value > 0)
    assert float(held[0]) == 0.0
