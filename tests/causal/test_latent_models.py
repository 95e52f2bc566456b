"""Random linear models with hidden common causes: ranges, moments, and graphs that the rows obey."""

import numpy as np
import pytest

from intaglio.causal.simulate.latent_models import LATENT_FAMILIES, LatentRecipe, draw_latent_model
from intaglio.errors import BadInput

HIDDEN = LatentRecipe(hidden=(0.05, 0.2))


def models(recipe: LatentRecipe, count: int, variables: int):
    return [draw_latent_model(recipe, np.random.default_rng(seed), variables) for seed in range(count)]


@pytest.mark.parametrize("family", LATENT_FAMILIES)
def test_parameters_are_in_the_ranges_of_the_paper(family):
    d, edges, turned, arrows, off = 30, [], [], [], []
    for model in models(LatentRecipe((family,)), 60, d):
        b, omega = model.arrows, model.parameters.errors
        joined = ~np.eye(d, dtype=bool) & (np.abs(omega) > 1e-12)
        assert np.array_equal(model.graph.directed, b != 0)
        assert np.array_equal(model.graph.bidirected, joined)
        assert model.graph.belongs_to("bow-free")
        own = omega.diagonal() - np.abs(omega * joined).sum(1)
        assert own == pytest.approx(own[0])
        assert 0.7 <= own[0] <= 1.2
        arrows.append(b[b != 0])
        off.append(omega[joined])
        edges.append((b != 0).sum() + joined.sum() // 2)
        turned.append(joined.sum() / 2 / edges[-1])
    for values, low, high in ((np.concatenate(arrows), 0.5, 2.0), (np.concatenate(off), 0.4, 0.7)):
        assert low - 1e-9 <= np.abs(values).min() < low + 0.05
        assert high - 0.05 < np.abs(values).max() <= high + 1e-9
        assert np.sign(values).mean() == pytest.approx(0, abs=0.2)
        assert np.abs(values).mean() == pytest.approx((low + high) / 2, rel=0.05)
    assert d <= min(edges) < max(edges) <= 1.7 * d
    assert np.mean(turned) == pytest.approx(0.125, abs=0.02)


def test_families_differ_in_hubs_and_layers():
    drawn = {name: models(LatentRecipe((name,), confounded=(0.0, 0.0)), 20, 40) for name in LATENT_FAMILIES}
    for model in drawn["bipartite"]:
        causes = model.graph.directed.any(1)
        assert causes.sum() <= 8
        assert not (causes & model.graph.directed.any(0)).any()
    degree = {name: np.mean([m.graph.mag().skeleton.sum(0).max() for m in found]) for name, found in drawn.items()}
    assert degree["scale-free"] > 1.4 * degree["erdos-renyi"]


@pytest.mark.parametrize("noise", ["gaussian", "exponential", "uniform"])
@pytest.mark.parametrize("recipe", [LatentRecipe(), HIDDEN])
def test_rows_have_the_covariance_of_the_model(recipe, noise):
    n, d = 40_000, 8
    model = draw_latent_model(
        LatentRecipe(confounded=(0.5, 0.5), hidden=recipe.hidden, noise=noise), np.random.default_rng(3), d
    )
    rows = model.rows(np.random.default_rng(4), n)
    inverse = np.linalg.inv(np.eye(d) - model.arrows)
    expected = inverse.T @ (model.sources.T @ model.sources) @ inverse
    scale = np.sqrt(np.outer(expected.diagonal(), expected.diagonal()))
    assert np.abs((rows.T @ rows / n - expected) / scale).max() < 0.04
    assert np.abs(rows.mean(0) / np.sqrt(expected.diagonal())).max() < 0.03
    assert model.parameters.covariance() == pytest.approx(expected)


def test_errors_without_a_double_arrow_are_independent_not_only_uncorrelated():
    model = draw_latent_model(LatentRecipe(confounded=(0.5, 0.5)), np.random.default_rng(0), 10)
    shared = (model.sources != 0).astype(int)
    assert np.array_equal((shared.T @ shared > 0) & ~np.eye(10, dtype=bool), model.graph.bidirected)
    assert model.graph.bidirected.any()


def test_the_margin_over_seen_nodes_has_the_parameters_of_the_projected_graph():
    found = models(HIDDEN, 30, 20)
    counts = [len(model.sources) - 20 for model in found]
    assert min(counts) >= 0
    assert 1 <= np.mean(counts) <= 4
    for model in found:
        omega = model.parameters.errors
        assert np.array_equal(model.graph.directed, np.abs(model.arrows) > 1e-12)
        # Sources that reach two errors are hidden nodes; the projection joins just these errors.
        assert np.array_equal(model.graph.bidirected, (np.abs(omega) > 1e-12) & ~np.eye(20, dtype=bool))
        assert ((model.sources[20:] != 0).sum(1) >= 1).all()
    assert any(model.graph.bidirected.any() for model in found)


@pytest.mark.parametrize("recipe", [LatentRecipe(confounded=(0.3, 0.3)), HIDDEN])
def test_the_mag_is_adjacent_just_where_the_ancestors_do_not_separate(recipe):
    """Two variables of an ADMG are separated by their ancestors, if by any set: their partial correlation is 0."""
    extra = 0
    for model in models(recipe, 12, 9):
        covariance, adjacent = model.parameters.covariance(), model.graph.mag().skeleton
        for i, j in zip(*np.triu_indices(9, 1), strict=True):
            given = [k for k in np.flatnonzero(model.graph.ancestors[:, [i, j]].any(1)) if k not in (i, j)]
            block = np.linalg.inv(covariance[np.ix_([i, j, *given], [i, j, *given])])
            partial = -block[0, 1] / np.sqrt(block[0, 0] * block[1, 1])
            assert (abs(partial) > 1e-7) == adjacent[i, j]
        extra += (adjacent & ~(model.graph.directed | model.graph.directed.T | model.graph.bidirected)).sum()
    assert extra > 0


def test_a_seed_gives_the_same_model_and_rows():
    first, again = (draw_latent_model(HIDDEN, np.random.default_rng(7), 15) for _ in range(2))
    assert np.array_equal(first.arrows, again.arrows)
    assert np.array_equal(first.rows(np.random.default_rng(1), 5), again.rows(np.random.default_rng(1), 5))
    assert not np.array_equal(first.arrows, draw_latent_model(HIDDEN, np.random.default_rng(8), 15).arrows)


@pytest.mark.parametrize("d", [2, 3, 5])
@pytest.mark.parametrize("family", LATENT_FAMILIES)
def test_few_variables_are_drawn_too(family, d):
    for recipe in (LatentRecipe((family,)), LatentRecipe((family,), hidden=(0.2, 0.2))):
        assert draw_latent_model(recipe, np.random.default_rng(0), d).arrows.shape == (d, d)


def test_what_cannot_be_drawn_is_refused():
    wrong = ({"families": ("tree",)}, {"families": ()}, {"noise": "cauchy"}, {"coefficients": (0.0, 1.0)})
    for settings in (
        *wrong,
        {"edges": (2.0, 1.0)},
        {"edges": (1.0, np.inf)},
        {"confounded": (0.1, 1.1)},
        {"hidden": (-0.1, 0.1)},
    ):
        with pytest.raises(ValueError, match=next(iter(settings))):
            LatentRecipe(**settings)
    with pytest.raises(BadInput, match="2 or more"):
        draw_latent_model(LatentRecipe(), np.random.default_rng(0), 1)
    with pytest.raises(BadInput, match="1 or more"):
        draw_latent_model(LatentRecipe(), np.random.default_rng(0), 3).rows(np.random.default_rng(0), 0)
