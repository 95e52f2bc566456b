import numpy as np
import pytest

from intaglio.causal.simulate import categorical, mechanisms
from intaglio.causal.simulate.mechanisms import MECHANISMS, Scales, interaction, linear, random_features, standardised


def inputs(b: int = 60, p: int = 3, n: int = 400) -> tuple[np.random.Generator, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng, rng.normal(size=(b, p, n)), rng.random((b, p)) < 0.7


@pytest.mark.parametrize("name", MECHANISMS)
def test_only_parents_that_are_there_have_an_effect(name):
    _, parents, present = inputs()
    controlled = np.arange(60) % 2 == 0

    def value(parents: np.ndarray) -> np.ndarray:
        return MECHANISMS[name](np.random.default_rng(7), parents, present, controlled, Scales())

    found = value(parents)
    assert np.isfinite(found).all()
    assert np.array_equal(found, value(parents))
    other = np.where(present[..., None], parents, 5.0 * parents[::-1] + 1)
    assert value(other) == pytest.approx(found, rel=1e-4, abs=1e-3)
    for i in range(3):
        moved = parents.copy()
        moved[:, i] = moved[:, i, ::-1]
        changed = np.abs(value(moved) - found).max(1) > 1e-3
        assert (changed == present[:, i]).all()


def test_linear_weights_lie_in_their_ranges_with_both_signs():
    rng, _, _ = inputs()
    parents = np.repeat(np.eye(4)[None], 4000, 0)
    scales = Scales(weights=((1.0, 3.0), (0.25, 0.5)))
    found = linear(rng, parents, np.ones((4000, 4), bool), np.zeros(4000, bool), scales)
    size = np.abs(found)
    strong = size.max(1) > 0.6
    assert strong.mean() == pytest.approx(0.5, abs=0.03)
    assert size[strong].min() >= 1
    assert size[strong].max() <= 3
    assert size[strong].mean() == pytest.approx(2, abs=0.03)
    assert size[~strong].min() >= 0.25
    assert size[~strong].max() <= 0.5
    assert (found > 0).mean() == pytest.approx(0.5, abs=0.02)


def test_random_features_have_the_kernel_of_their_length():
    rng, b = np.random.default_rng(1), 6000
    x = np.broadcast_to(np.array([0.0, 1.0, 2.0, 5.0]), (b, 1, 4))
    found = random_features(rng, x, np.ones((b, 1), bool), np.full(b, 2.0), 100)
    got = found.T @ found / b
    gap = np.array([0.0, 1.0, 2.0, 5.0])
    expected = np.exp(-((gap[:, None] - gap) ** 2) / (2 * 2.0**2))
    assert got == pytest.approx(expected, abs=0.05)


def test_a_pure_interaction_hides_from_each_parent_alone():
    rng, parents, _ = inputs(200, 3, 5000)
    present = np.ones((200, 3), bool)
    product, left = interaction(rng, parents, present)
    assert (left.sum(1) == 1).all()
    alone = np.abs([np.corrcoef(product[k], parents[k, i])[0, 1] for k in range(50) for i in range(3)])
    assert alone.mean() < 0.03
    pair = np.flatnonzero(~left[0])
    assert np.corrcoef(product[0], parents[0, pair[0]] * parents[0, pair[1]])[0, 1] > 0.99


@pytest.mark.parametrize("bend", mechanisms.BENDS)
def test_bends_rise_strictly(bend):
    x = np.linspace(-4, 4, 500)[None]
    assert (np.diff(bend(x)) > 0).all()


def test_standardised_values_have_unit_variance_or_are_0():
    found = standardised(np.stack([np.arange(5.0) * 1e6 + 1e9, np.full(5, 0.1)]))
    assert found[0].std() == pytest.approx(1)
    assert found[0].mean() == pytest.approx(0, abs=1e-9)
    assert (found[1] == 0).all()


def test_tables_of_probabilities_give_the_levels_their_shares():
    rng = np.random.default_rng(2)
    counts, n = np.array([2, 4]), 200_000
    parents = rng.integers(0, 2, (2, 2, n))
    sizes = np.array([[2, 2], [2, 1]])
    parents[1, 1] = 0
    state = rng.bit_generator.state
    law = categorical.dirichlet_laws(rng, np.repeat([0.5, 1.0], [4, 2]), np.repeat(counts, [4, 2]))
    rng.bit_generator.state = state
    codes = categorical.from_probability_table(rng, parents, sizes, counts, np.array([0.5, 1.0]))
    assert law.sum(-1) == pytest.approx(np.ones(6))
    assert law[:4, 2:].max() == 0
    assert law[4:].min() >= categorical.UNIFORM_WEIGHT / 4 - 1e-12
    for k in range(2):
        for cell in range(4 if k == 0 else 2):
            chosen = parents[k, 0] + 2 * parents[k, 1] == cell
            got = np.bincount(codes[k, chosen], minlength=4) / chosen.sum()
            assert got == pytest.approx(law[4 * k + cell], abs=0.01)


def test_dirichlet_rows_have_their_moments():
    law = categorical.dirichlet_laws(np.random.default_rng(3), np.full(20_000, 0.5), np.full(20_000, 3))
    pure = (law - categorical.UNIFORM_WEIGHT / 3) / (1 - categorical.UNIFORM_WEIGHT)
    assert pure.mean(0) == pytest.approx([1 / 3] * 3, abs=0.01)
    assert pure.var(0) == pytest.approx([(1 / 3) * (2 / 3) / (1.5 + 1)] * 3, rel=0.05)


def test_cuts_keep_the_order_and_scores_use_all_levels():
    rng = np.random.default_rng(4)
    value = rng.normal(size=(30, 4000))
    counts = rng.integers(2, 7, 30)
    codes = categorical.by_cuts(rng, value, counts)
    for k in range(30):
        assert (np.diff(codes[k][np.argsort(value[k])]) >= 0).all()
        assert set(codes[k]) == set(range(counts[k]))
    codes = categorical.from_scores(rng, value[:, None], np.ones((30, 1), bool), counts)
    assert all(codes[k].max() == counts[k] - 1 for k in range(30))
    alone = categorical.from_scores(rng, value[:, None], np.zeros((30, 1), bool), counts)
    means = [np.corrcoef(alone[k], value[k])[0, 1] for k in range(30)]
    assert np.abs(means).max() < 0.08


def test_offsets_are_one_number_a_level():
    codes = np.array([[0, 1, 2, 1, 0]])
    found = categorical.random_level_values(np.random.default_rng(5), codes, 3)[0]
    assert found[0] == found[4]
    assert found[1] == found[3]
    assert len(set(found)) == 3
