"""Features of pairs against a plain loop with matrix inverses, closed forms, and the invariances they promise."""

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from intaglio.causal.methods.spot.partial_correlations import partial_correlations, severities
from intaglio.causal.methods.spot.skeleton_features import (
    FEATURES,
    PAIR_FEATURES,
    marginal_neighbours,
    skeleton_features,
)
from intaglio.causal.simulate.latent_models import LatentRecipe, draw_latent_model
from intaglio.errors import BadInput


def correlation_of(seed: int, d: int, n: int) -> np.ndarray:
    model = draw_latent_model(LatentRecipe(), np.random.default_rng(seed), d)
    return np.corrcoef(model.rows(np.random.default_rng(seed + 1), n).T)


def partial(correlation, i, j, given) -> float:
    inside = [i, j, *given]
    inverse = np.linalg.inv(correlation[np.ix_(inside, inside)])
    return -inverse[0, 1] / np.sqrt(inverse[0, 0] * inverse[1, 1])


def by_hand(correlation, n, order, neighbours, i, j) -> dict[str, float]:
    """The features of one pair, from the definitions."""
    d, near = len(correlation), [set(np.flatnonzero(row)) - {i, j} for row in neighbours]
    strength = np.abs(correlation)
    ranks = sorted(
        sum(strength[a, k] > strength[a, b] for k in range(d) if k not in (a, b)) for a, b in ((i, j), (j, i))
    )
    sets = list(combinations(sorted(near[i] | near[j]), order))
    fewer, more = sorted((len(near[i]), len(near[j])))
    z = [abs(np.arctanh(partial(correlation, i, j, given))) * np.sqrt(n - order - 3) for given in sets]
    found = [abs(np.arctanh(correlation[i, j])) * np.sqrt(n - 3), ranks[1], ranks[0], more, fewer]
    found += [len(near[i] & near[j]), len(sets)]
    wide = [
        abs(np.arctanh(partial(correlation, i, j, sorted(given)))) * np.sqrt(n - len(given) - 3)
        for given in (near[i], near[j], set(range(d)) - {i, j})
    ]
    found += [max(wide[:2]), min(wide[:2]), wide[2], n, d]
    for values in (2 * stats.norm.sf(z), np.array(z)):
        if sets:
            found += [
                values.mean(),
                values.std(),
                values.max(),
                values.min(),
                *np.percentile(values, range(0, 101, 10)),
            ]
        else:
            found += [np.nan] * 15
    return dict(zip(FEATURES, found, strict=True))


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("seed", range(3))
def test_features_are_those_of_a_plain_loop(order, seed):
    d, n = 8, 60
    correlation = correlation_of(seed, d, n)
    neighbours = marginal_neighbours(correlation, n, 0.01)
    found = skeleton_features(correlation, n, order, neighbours)
    assert found.values.shape == (d * (d - 1) // 2, len(FEATURES))
    for row, (i, j) in zip(found.values, combinations(range(d), 2), strict=True):
        expected = by_hand(correlation, n, order, neighbours, i, j)
        assert dict(zip(FEATURES, row, strict=True)) == pytest.approx(expected, rel=1e-7, abs=1e-9, nan_ok=True)


def test_closed_forms_are_those_of_the_inverse():
    correlation = correlation_of(5, 6, 100)
    first, second, given = np.array([0, 1, 5]), np.array([1, 4, 2]), np.array([[2, 3], [0, 5], [4, 0]])
    for k in (1, 2):
        expected = [partial(correlation, i, j, s[:k]) for i, j, s in zip(first, second, given, strict=True)]
        assert partial_correlations(correlation, first, second, given[:, :k]) == pytest.approx(expected, rel=1e-10)


def test_a_chain_is_separated_at_order_one_and_a_square_at_order_two():
    chain = 0.6 ** np.abs(np.subtract.outer(range(3), range(3)))
    found = skeleton_features(chain, 500, 1, marginal_neighbours(chain, 500)).column("smallest of the severities")
    assert found[1] < 1e-9 < 5 < min(found[0], found[2])
    # a → b → d, a → c → d: a and d are separated by b and c together, and by neither alone.
    arrows = np.zeros((4, 4))
    arrows[0, 1], arrows[0, 2], arrows[1, 3], arrows[2, 3] = 0.8, -0.9, 0.7, 0.6
    inverse = np.linalg.inv(np.eye(4) - arrows)
    covariance = inverse.T @ inverse
    square = covariance / np.sqrt(np.outer(covariance.diagonal(), covariance.diagonal()))
    everyone = np.ones((4, 4), bool)
    one, two = (skeleton_features(square, 5000, k, everyone).column("smallest of the severities") for k in (1, 2))
    assert one[2] > 5
    assert two[2] < 1e-6


def test_neighbours_are_pairs_that_the_test_rejects():
    correlation, n = correlation_of(2, 12, 300), 300
    found = marginal_neighbours(correlation, n)
    for i, j in combinations(range(12), 2):
        p = 2 * stats.norm.sf(abs(np.arctanh(correlation[i, j])) * np.sqrt(n - 3))
        assert found[i, j] == found[j, i] == (p <= 0.15)
    assert not found.diagonal().any()
    assert 0 < found.sum() < 12 * 11
    assert marginal_neighbours(correlation, 3).sum() == 12 * 11


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("most", [7, 1000])
def test_a_permutation_of_the_columns_permutes_the_pairs_also_where_sets_are_drawn(order, most):
    d, n = 14, 200
    model = draw_latent_model(LatentRecipe(), np.random.default_rng(4), d)
    rows = model.rows(np.random.default_rng(5), n)
    order_of_columns = np.random.default_rng(6).permutation(d)
    signs = np.where(np.random.default_rng(7).random(d) < 0.5, -1, 1)
    cubes = []
    for given in (rows, (rows * signs)[:, order_of_columns]):
        correlation = np.corrcoef(given.T)
        cube = np.zeros((d, d, len(FEATURES)))
        cube[np.triu_indices(d, 1)] = skeleton_features(
            correlation, n, order, marginal_neighbours(correlation, n), 3, most
        ).values
        cubes.append(cube + cube.swapaxes(0, 1))
    moved = cubes[0][np.ix_(order_of_columns, order_of_columns)]
    assert cubes[1] == pytest.approx(moved, rel=1e-6, abs=1e-7, nan_ok=True)
    assert np.nanmax(cubes[0][..., PAIR_FEATURES.index("conditioning sets")]) >= 7


def test_sets_beyond_the_most_are_drawn_evenly_and_by_the_seed():
    d, n = 6, 100
    correlation, everyone = correlation_of(9, d, n), np.ones((d, d), bool)
    everything = [
        abs(np.arctanh(partial(correlation, 0, 1, given))) * np.sqrt(n - 5) for given in combinations(range(2, 6), 2)
    ]
    drawn = [
        skeleton_features(correlation, n, 2, everyone, seed, 1).column("mean of the severities")[0]
        for seed in range(180)
    ]
    nearest = np.abs(np.subtract.outer(drawn, everything))
    assert nearest.min(1).max() < 1e-8
    assert stats.chisquare(np.bincount(nearest.argmin(1), minlength=6)).pvalue > 0.001
    two = skeleton_features(correlation, n, 2, everyone, 0, 2)
    assert (two.column("conditioning sets") == 2).all()
    assert (two.column("largest of the severities") > two.column("smallest of the severities")).all()
    again, other = (skeleton_features(correlation, n, 2, everyone, seed, 2).values for seed in (0, 1))
    assert np.array_equal(two.values, again)
    assert not np.array_equal(two.values, other)


def test_what_is_not_defined_is_missing():
    correlation, everyone = correlation_of(1, 5, 50), np.ones((5, 5), bool)
    sets = slice(len(PAIR_FEATURES), None)
    assert np.isnan(skeleton_features(correlation, 5, 2, everyone).values[:, sets]).all()
    few = skeleton_features(correlation, 6, 2, everyone)
    assert not np.isnan(few.values[:, sets]).any()
    assert np.isnan(few.column("severity given all others")).all()  # given three, of six rows
    assert not np.isnan(skeleton_features(correlation, 7, 2, everyone).values).any()
    assert np.isnan(skeleton_features(correlation, 50, 1, np.zeros((5, 5), bool)).values[:, sets]).all()
    for d in (2, 3):
        found = skeleton_features(correlation[:d, :d], 50, 2, everyone[:d, :d]).values
        assert np.isnan(found[:, sets]).all()
        assert not np.isnan(found[:, : sets.start]).any()
    assert np.isfinite(severities(np.array([1.0, -1.0]), 100, 0)).all()


def test_other_orders_and_one_sided_neighbours_are_refused():
    correlation, everyone = correlation_of(1, 4, 50), np.ones((4, 4), bool)
    for order, most in ((0, 10), (3, 10), (1, 0)):
        with pytest.raises(BadInput, match="order 1 or 2"):
            skeleton_features(correlation, 50, order, everyone, 0, most)
    with pytest.raises(BadInput, match="symmetric"):
        skeleton_features(correlation, 50, 1, np.triu(everyone))


def test_pairs_of_many_variables_have_as_many_sets_as_are_allowed():
    found = skeleton_features(correlation_of(0, 60, 300), 300, 2, np.ones((60, 60), bool))
    assert (found.column("conditioning sets") == 1000).all()
