"""Independence tests against formulas derived again, and their level and power on planted laws."""

import numpy as np
import pytest
from scipy import stats

from intaglio.causal.independence.choice import independence_test, suitable
from intaglio.causal.independence.feature_test import FeatureTest, median_distance
from intaglio.causal.independence.g_test import GTest
from intaglio.causal.independence.kernel_test import (
    KernelTest,
    gamma_tail,
    marginal_p,
    null_moments,
    residual_correlation,
    residual_maker,
)
from intaglio.causal.independence.kernels import Kernels, centred, gaussian, squared_distances, width_for
from intaglio.causal.independence.partial_correlation import PartialCorrelation
from intaglio.causal.independence.variables import Variables

NUMBERS = (0, 0, 0)


def drawn(seed=0, rows=60, columns=3):
    return np.random.default_rng(seed).standard_normal((rows, columns))


# Kernels


def test_distances_and_kernels_are_those_of_their_definition():
    values = drawn(columns=2)
    direct = np.array([[((a - b) ** 2).sum() for b in values] for a in values])
    assert np.allclose(squared_distances(values), direct)
    assert np.allclose(gaussian(values, 0.7), np.exp(-direct / (2 * 0.7**2)))
    one = centred(gaussian(values, 1.0))
    projection = np.eye(60) - 1 / 60
    assert np.allclose(one, projection @ gaussian(values, 1.0) @ projection)


def test_a_set_has_one_width_for_its_numbers_none_for_levels_and_a_time_its_own():
    values = np.column_stack([drawn(rows=60), np.arange(60) // 20])
    variables = Variables(values, (0, 0, 0, 3), (None, None, 0.2, None))
    x, y, time = variables.values[:, :3].T
    theta = 1.2**-2 / 2  # 60 rows, two numbers of the usual width
    kernel = np.exp(-0.5 * theta * ((x[:, None] - x) ** 2 + (y[:, None] - y) ** 2))
    kernel *= np.exp(-0.5 * (time[:, None] - time) ** 2 / 0.2**2)
    kernel *= values[:, 3, None] == values[:, 3]
    assert np.allclose(Kernels(variables).given((0, 1, 2, 3)), kernel)
    beside = np.exp(-0.5 * 1.2**-2 * ((y[:, None] - y) ** 2 + 0.25 * (x[:, None] - x) ** 2))
    assert np.allclose(Kernels(variables).beside(1, (0,)), beside)
    levelled = np.where(values[:, 3, None] == values[:, 3], 1.0, 0.5) * np.exp(-0.5 * 1.2**-2 * (y[:, None] - y) ** 2)
    assert np.allclose(Kernels(variables).beside(1, (3,)), levelled)
    assert np.allclose(Kernels(variables, memory=0).given((0, 1)), Kernels(variables).given((0, 1)))


def test_widths_are_published_ones():
    assert [width_for(rows, conditional=True) for rows in (100, 200, 1199, 1200)] == [1.2, 0.7, 0.7, 0.4]
    assert [width_for(rows, conditional=False) for rows in (100, 200, 1200)] == [0.8, 0.5, 0.3]


def test_constant_columns_and_ill_fitting_levels_are_refused():
    with pytest.raises(ValueError, match="constant"):
        Variables(np.ones((60, 1)), (0,))
    with pytest.raises(ValueError, match="as many"):
        Variables(drawn(), (0,))


# KCI


def test_the_moments_of_the_null_are_those_of_the_products_of_all_eigenvectors():
    """The weights of the χ² sum are the eigenvalues of Σ w wᵀ, w the products of scaled eigenvectors of A and B."""
    kernels = Kernels(Variables(drawn(rows=40), NUMBERS))
    regressed = residual_maker(centred(kernels.given((2,))))
    sides = [regressed @ centred(kernels.beside(k, (2,))) @ regressed for k in (0, 1)]
    scaled = []
    for side in sides:
        sizes, vectors = np.linalg.eigh(side)
        scaled.append(vectors * np.sqrt(np.maximum(sizes, 0)))
    products = (scaled[0][:, :, None] * scaled[1][:, None, :]).reshape(40, -1)
    weights = np.linalg.eigvalsh(products @ products.T)
    mean, variance = null_moments(*sides)
    assert mean == pytest.approx(weights.sum(), rel=1e-9)
    assert variance == pytest.approx(2 * (weights**2).sum(), rel=1e-9)


def test_the_regression_is_the_ridge_of_its_definition_and_never_takes_too_many_degrees_of_freedom():
    kernel = centred(Kernels(Variables(drawn(rows=80), NUMBERS)).given((0,)))
    assert np.allclose(residual_maker(kernel), 1e-3 * np.linalg.inv(kernel + 1e-3 * np.eye(80)), atol=1e-10)
    nearly_all = centred(gaussian(drawn(rows=80), 0.05))
    assert 80 - np.trace(residual_maker(nearly_all)) <= 0.25 * 80


def test_the_inflation_is_the_ratio_of_both_expectations_for_independent_noise():
    """E Σ A∘B of one independent feature a side is ‖R²‖², and E tr(A∘B) is Σ (R²)_ii²; a projection has n/(n − p)."""
    random = np.random.default_rng(0)
    basis = np.linalg.qr(random.standard_normal((60, 15)))[0]
    projection = np.eye(60) - basis @ basis.T
    whole, diagonal = 0.0, 0.0
    for _ in range(2000):
        first, second = projection @ random.standard_normal(60), projection @ random.standard_normal(60)
        whole += (first @ second) ** 2
        diagonal += ((first * second) ** 2).sum()
    assert residual_correlation(projection) == pytest.approx(whole / diagonal, rel=0.15)
    assert residual_correlation(projection) == pytest.approx(60 / 45, rel=0.05)


def test_the_marginal_null_has_the_moments_of_its_eigenvalues():
    one, two = (centred(gaussian(drawn(seed, 50, 1), 0.8)) for seed in (1, 2))
    first, second = np.linalg.eigvalsh(one), np.linalg.eigvalsh(two)
    mean, variance = first.sum() * second.sum() / 50, 2 * (first**2).sum() * (second**2).sum() / 50**2
    p = stats.gamma.sf((one * two).sum(), a=mean**2 / variance, scale=variance / mean)
    assert marginal_p(one, two) == pytest.approx(p)
    assert gamma_tail(1.0, 0.0, 0.0) == 1.0


def test_p_values_of_kernels_are_uniform_for_independent_effects_of_one_cause():
    found = []
    for seed in range(60):
        random = np.random.default_rng(seed)
        z, x, y = random.standard_normal((3, 200))
        values = np.column_stack([np.sin(2 * z) + 0.5 * x, z + 0.5 * y, z])
        found.append(KernelTest(Variables(values, NUMBERS)).p_values([(0, 1)], (2,))[0])
    assert stats.kstest(found, "uniform").pvalue > 0.01
    assert np.mean(np.array(found) < 0.05) < 0.15


@pytest.mark.parametrize(("domains", "rows"), [(0, 150), (20, 200)])
def test_many_domains_in_the_condition_do_not_make_independent_columns_dependent(domains, rows):
    """The trap of a regression with many degrees of freedom: without κ more than a third of these are rejected."""
    rejected = 0
    for seed in range(30):
        random = np.random.default_rng(seed)
        c = np.arange(rows) * domains // rows if domains else np.arange(rows) * 1.0
        drive = random.standard_normal(10)[np.arange(rows) * 10 // rows]
        z = 0.7 * random.standard_normal(rows) + drive
        x, y = 0.8 * z + 0.6 * random.standard_normal(rows), np.tanh(z) + 0.6 * random.standard_normal(rows)
        variables = Variables(np.column_stack([x, y, z, c]), (0, 0, 0, domains), (None, None, None, 0.2))
        rejected += KernelTest(variables).p_values([(0, 1)], (2, 3))[0] < 0.05
    assert rejected <= 6


def test_a_dependence_within_twenty_domains_is_seen_beside_another_cause():
    seen = 0
    for seed in range(10):
        random = np.random.default_rng(seed)
        domain = np.arange(200) // 10
        z = random.standard_normal(20)[domain] + 0.7 * random.standard_normal(200)
        x = 0.8 * z + 0.6 * random.standard_normal(200)
        y = np.tanh(z) + 0.4 * x + 0.6 * random.standard_normal(200)
        variables = Variables(np.column_stack([x, y, z, domain]), (0, 0, 0, 20))
        seen += KernelTest(variables).p_values([(0, 1)], (2, 3))[0] < 0.05
    assert seen >= 8


def test_kernels_see_what_correlations_do_not():
    random = np.random.default_rng(0)
    x = random.standard_normal(200)
    values = np.column_stack([x, x**2 + 0.3 * random.standard_normal(200), random.standard_normal(200)])
    variables = Variables(values, NUMBERS)
    for test in (KernelTest(variables), FeatureTest(variables, 0.05)):
        for given in ((), (2,)):
            assert test.p_values([(0, 1)], given)[0] < 1e-3
    assert PartialCorrelation(variables).p_values([(0, 1)], ())[0] > 1e-3


def test_a_change_of_variance_and_of_slope_with_the_domain_is_seen():
    random = np.random.default_rng(0)
    domain = np.arange(300) // 30
    cause = random.standard_normal(300)
    louder = (1 + domain / 5) * random.standard_normal(300)
    steeper = (domain / 5) * cause + 0.5 * random.standard_normal(300)
    variables = Variables(np.column_stack([cause, louder, steeper, domain]), (0, 0, 0, 10))
    for test in (KernelTest(variables), FeatureTest(variables, 0.05)):
        assert test.p_values([(1, 3)], ())[0] < 0.05
        assert test.p_values([(2, 3)], (0,))[0] < 0.01
        assert test.p_values([(0, 3)], ())[0] > 0.05


@pytest.mark.parametrize("make", [KernelTest, lambda one: FeatureTest(one, 0.05), PartialCorrelation])
def test_a_pair_is_tested_alike_in_either_order_and_with_others_or_alone(make):
    variables = Variables(np.column_stack([drawn(rows=80, columns=3), np.arange(80) % 4]), (0, 0, 0, 4))
    test = make(variables)
    together = test.p_values([(0, 1), (0, 3), (1, 3)], (2,))
    alone = [make(variables).p_values([pair], (2,))[0] for pair in [(0, 1), (0, 3), (1, 3)]]
    turned = make(variables).p_values([(1, 0), (3, 0), (3, 1)], (2,))
    assert together == pytest.approx(alone, rel=1e-9)
    assert together == pytest.approx(turned, rel=1e-9)


# RCIT


def test_random_features_reject_at_their_level_and_the_seed_decides():
    found = []
    for seed in range(40):
        random = np.random.default_rng(seed)
        z, x, y = random.standard_normal((3, 400))
        variables = Variables(np.column_stack([np.sin(2 * z) + 0.5 * x, z + 0.5 * y, z]), NUMBERS)
        found.append(FeatureTest(variables, 0.05, seed=1).p_values([(0, 1)], (2,))[0])
    assert np.mean(np.array(found) < 0.05) < 0.18
    assert FeatureTest(variables, 0.05, seed=1).p_values([(0, 1)], (2,))[0] == found[-1]
    assert FeatureTest(variables, 0.05, seed=2).p_values([(0, 1)], (2,))[0] != found[-1]


def test_near_the_level_three_draws_of_features_are_averaged():
    variables = Variables(drawn(rows=100), NUMBERS)
    single = [FeatureTest(variables, 0.05)._drawn([(0, 1)], (2,), draw)[0] for draw in range(3)]
    level = float(np.clip(single[0], 1e-6, 0.99))
    assert FeatureTest(variables, level).p_values([(0, 1)], (2,))[0] == pytest.approx(np.mean(single))
    assert FeatureTest(variables, level / 4).p_values([(0, 1)], (2,))[0] == pytest.approx(single[0])


def test_the_median_distance_leaves_out_equal_rows():
    assert median_distance(np.array([[0.0], [0.0], [1.0], [3.0]])) == pytest.approx(np.median([1, 1, 3, 3, 2]))
    assert median_distance(np.zeros((5, 1))) == 1.0


# Partial correlation and counts


def test_partial_correlation_is_the_t_test_of_a_regression():
    values = drawn(3, rows=50)
    x, y, z = Variables(values, NUMBERS).values.T
    design = np.column_stack([np.ones(50), z, x])
    weights, squares = np.linalg.lstsq(design, y, rcond=None)[:2]
    deviation = np.sqrt(squares[0] / 47 * np.linalg.inv(design.T @ design)[2, 2])
    p = 2 * stats.t.sf(abs(weights[2] / deviation), 47)
    assert PartialCorrelation(Variables(values, NUMBERS)).p_values([(0, 1)], (2,))[0] == pytest.approx(p)


def test_partial_correlation_with_levels_is_the_f_test_of_an_analysis_of_variance():
    random = np.random.default_rng(0)
    level = np.arange(90) % 3
    y = random.standard_normal(90) + 0.3 * level
    found = PartialCorrelation(Variables(np.column_stack([y, level]), (0, 3))).p_values([(0, 1)], ())[0]
    assert found == pytest.approx(stats.f_oneway(*(y[level == k] for k in range(3))).pvalue)


def test_counts_are_tested_as_in_a_contingency_table_and_stratum_by_stratum():
    random = np.random.default_rng(0)
    z = random.integers(2, size=400)
    x, y = (random.integers(3, size=400) + z) % 3, (random.integers(2, size=400) | z)
    test = GTest(Variables(np.column_stack([x, y, z]).astype(float), (3, 2, 2)))
    table = np.histogram2d(x, y, (3, 2))[0]
    p = stats.chi2_contingency(table, correction=False, lambda_="log-likelihood").pvalue
    assert test.p_values([(0, 1)], ())[0] == pytest.approx(p)
    statistic, freedom = 0.0, 0
    for stratum in (0, 1):
        table = np.histogram2d(x[z == stratum], y[z == stratum], (3, 2), ((0, 2), (0, 1)))[0]
        table = table[:, table.sum(0) > 0]
        one = stats.chi2_contingency(table, correction=False, lambda_="log-likelihood")
        statistic, freedom = statistic + one.statistic, freedom + one.dof
    assert test.p_values([(0, 1)], (2,))[0] == pytest.approx(stats.chi2.sf(statistic, freedom))
    with pytest.raises(ValueError, match="levels"):
        GTest(Variables(drawn(), NUMBERS))


def test_the_usual_test_is_by_kinds_and_rows():
    assert suitable(Variables(drawn(), NUMBERS)) == "kci"
    assert suitable(Variables(drawn(rows=2001), NUMBERS)) == "rcit"
    assert suitable(Variables(np.arange(60.0)[:, None] % 3, (3,))) == "g"
    kinds = {"kci": KernelTest, "rcit": FeatureTest, "partial-correlation": PartialCorrelation}
    for name, kind in kinds.items():
        assert isinstance(independence_test(name, Variables(drawn(), NUMBERS), alpha=0.05, seed=0), kind)
