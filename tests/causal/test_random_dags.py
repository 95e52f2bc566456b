import numpy as np
import pytest

from intaglio.causal.simulate import random_dags
from intaglio.errors import BadInput


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def edges(made: np.ndarray) -> np.ndarray:
    return made.sum((1, 2))


@pytest.mark.parametrize("name", random_dags.FAMILIES)
@pytest.mark.parametrize("d", [1, 2, 3, 12])
def test_every_family_gives_dags_in_causal_order(name, d):
    made = random_dags.FAMILIES[name](rng(), 20, d)
    assert made.shape == (20, d, d)
    assert made.dtype == bool
    assert not np.tril(made).any()


@pytest.mark.parametrize("e", [1.0, 2.0, 3.0])
def test_erdos_renyi_has_the_edges_asked_for_and_binomial_degrees(e):
    d, count = 20, 3000
    made = random_dags.erdos_renyi(rng(), count, d, (e,))
    assert edges(made).mean() == pytest.approx(e * d, rel=0.02)
    p = 2 * e / (d - 1)
    assert made[:, 0, 1:].mean() == pytest.approx(p, abs=0.01)
    degree = made.sum(1) + made.sum(2)
    assert degree.var() == pytest.approx((d - 1) * p * (1 - p), rel=0.05)
    assert random_dags.erdos_renyi(rng(), 200, 3, (3.0,)).sum((1, 2)).mean() == pytest.approx(3 * 0.99, abs=0.03)
    assert edges(random_dags.sparse(rng(), 2000, d)).mean() == pytest.approx(d / 2, rel=0.03)


@pytest.mark.parametrize("m", [1, 2, 3])
def test_scale_free_graphs_grow_by_in_degree(m):
    d, count = 5, 40_000
    made = random_dags.scale_free(rng(m), count, d, (m,))
    born = made[:, ::-1, ::-1]  # [graph, new, old] in the order of birth
    assert (born.sum(2) == np.minimum(m, np.arange(d))).all()
    if m == 1:
        # The third variable takes the first (weight 2) or the second (weight 1); the fourth by what the third took.
        assert born[:, 2, 0].mean() == pytest.approx(2 / 3, abs=0.01)
        first = born[:, 2, 0]
        assert born[first, 3, 0].mean() == pytest.approx(3 / 5, abs=0.01)
        assert born[~first, 3, 1].mean() == pytest.approx(2 / 5, abs=0.015)
    turned = random_dags.scale_free_transposed(rng(m), count, d, (m,))
    assert np.array_equal(turned, np.swapaxes(born, 1, 2))


def test_scale_free_in_degrees_have_a_heavy_tail():
    made = random_dags.scale_free(rng(), 200, 60, (2,))
    into, out = made.sum(1), made.sum(2)
    assert out.max() <= 2
    assert into.max(1).mean() > 3 * random_dags.erdos_renyi(rng(), 200, 60, (2.0,)).sum(1).max(1).mean() / 2
    power = random_dags.scale_free(rng(), 200, 60, (2,), (1.5,)).sum(1).max(1).mean()
    assert power > into.max(1).mean()


def test_watts_strogatz_keeps_the_lattices_edges_and_moves_some():
    lattice = random_dags._lattice(36, 2, 1)
    assert (lattice.sum(0) == 4).all()
    assert (random_dags._lattice(36, 2, 2).sum(0) == 12).all()
    assert (random_dags._lattice(125, 3, 1).sum(0) == 6).all()
    made = random_dags._rewired(rng(), lattice, np.array([0.0, 0.3, 1.0]))
    assert np.array_equal(made, made.swapaxes(1, 2))
    assert (made.sum((1, 2)) == 2 * 72).all()
    assert not made[:, np.arange(36), np.arange(36)].any()
    kept = (made & lattice).sum((1, 2)) / 2
    assert kept[0] == 72
    assert 45 < kept[1] < 60
    assert kept[2] < 20
    whole = random_dags.watts_strogatz(rng(), 50, 36, dimensions=(2,), reaches=(1,), rewired=(0.0, 0.0))
    assert (edges(whole) == 72).all()
    by_index = random_dags.watts_strogatz(
        rng(), 2, 36, dimensions=(2,), reaches=(1,), rewired=(0.0, 0.0), by_index=True
    )
    assert np.array_equal(by_index[0], np.triu(lattice))
    fewer = random_dags.watts_strogatz(rng(), 400, 30, dimensions=(2,), reaches=(2,), rewired=(0.2, 0.4))
    assert edges(fewer).mean() == pytest.approx(216 * (30 * 29) / (36 * 35), rel=0.03)


def test_blocks_have_the_edges_asked_for_and_few_across():
    made = random_dags.stochastic_blocks(rng(), 3000, 30, edges=(2.0,), parts=(2,))
    assert edges(made).mean() == pytest.approx(60, rel=0.02)
    # With two parts and known labels: the same draws again give labels first.
    random = rng(5)
    label = random.integers(random.choice(np.array([2]), 500)[:, None], size=(500, 30))
    made = random_dags.stochastic_blocks(rng(5), 500, 30, edges=(2.0,), parts=(2,))
    same = np.triu(label[:, :, None] == label[:, None, :], 1)
    across = np.triu(label[:, :, None] != label[:, None, :], 1)
    assert made[across].mean() / made[same].mean() == pytest.approx(0.1, abs=0.02)


def test_geometric_graphs_join_points_that_are_near():
    r = 0.3
    made = random_dags.random_geometric(rng(), 4000, 6, (r, r))
    # Two uniform points of the unit square are nearer than r with this probability.
    p = np.pi * r**2 - 8 / 3 * r**3 + r**4 / 2
    assert made.sum((1, 2)).mean() / 15 == pytest.approx(p, rel=0.03)


def test_the_simple_families_are_what_they_are_called():
    assert np.array_equal(random_dags.chain(rng(), 1, 4)[0], np.eye(4, k=1, dtype=bool))
    assert random_dags.fork(rng(), 1, 4)[0].sum(1).tolist() == [3, 0, 0, 0]
    made = random_dags.tree(rng(), 500, 6)
    assert (made.sum(1)[:, 1:] == 1).all()
    assert made[:, 0, 2].mean() == pytest.approx(0.5, abs=0.07)
    assert not random_dags.empty(rng(), 3, 4).any()


def test_a_mixture_has_its_shares_and_few_parents():
    made, names = random_dags.mixture(rng(), 4000, 14, {"er": 0.5, "empty": 0.25, "fork": 0.25}, most_parents=3)
    assert names.count("empty") / 4000 == pytest.approx(0.25, abs=0.03)
    assert made.sum(1).max() == 3
    forks = np.array([name == "fork" for name in names])
    assert (edges(made)[forks] == 13).all()
    assert sum(random_dags.FAMILY_SHARES.values()) == pytest.approx(1)
    assert set(random_dags.FAMILY_SHARES) == set(random_dags.FAMILIES)


def test_which_parents_stay_under_a_cap_is_even():
    full = np.repeat(np.triu(np.ones((6, 6), bool), 1)[None], 6000, 0)
    made = random_dags.with_parents_capped(rng(), full, 2)
    assert (made.sum(1) == np.minimum(2, np.arange(6))).all()
    assert made[:, :5, 5].mean(0) == pytest.approx([0.4] * 5, abs=0.03)


def test_parts_of_a_larger_graph_are_induced_and_connected():
    of = np.triu(rng().random((40, 40)) < 0.05, 1) | random_dags.tree(rng(), 1, 40)[0]
    order = rng(1).permutation(40)
    made = random_dags.sub_graphs(rng(2), 30, 8, of[np.ix_(order, order)])
    assert not np.tril(made).any()
    assert edges(made).min() >= 7
    whole = random_dags.sub_graphs(rng(3), 1, 40, of[np.ix_(order, order)])[0]
    assert sorted(whole.sum(0)) == sorted(of.sum(0))
    with pytest.raises(BadInput, match="parts of 50 variables cannot come from a graph of 40"):
        random_dags.sub_graphs(rng(), 1, 50, of)
    with pytest.raises(BadInput, match="has a directed cycle"):
        random_dags.sub_graphs(rng(), 1, 1, np.array([[False, True], [True, False]]))
