import numpy as np
import pytest
from scipy import stats

from intaglio.causal.simulate import noises

SHAPE = (400, 2, 1000)


def drawn(name: str) -> np.ndarray:
    return noises.NOISES[name](np.random.default_rng(0), SHAPE)


@pytest.mark.parametrize("name", sorted(set(noises.NOISES) - {"cauchy", "student"}))
def test_noise_has_mean_0_and_variance_1(name):
    values = drawn(name)
    assert values.shape == SHAPE
    assert values.mean() == pytest.approx(0, abs=0.01)
    assert values.var() == pytest.approx(1, rel=0.02)


def test_student_noise_has_variance_1_where_its_fourth_moment_lets_one_see():
    values = drawn("student")
    assert values.mean() == pytest.approx(0, abs=0.01)
    assert np.median(values.var((1, 2))) == pytest.approx(1, abs=0.05)
    assert stats.kurtosis(values, axis=None) > 1


@pytest.mark.parametrize(
    ("name", "law"),
    [
        ("gaussian", stats.norm()),
        ("laplace", stats.laplace(scale=np.sqrt(0.5))),
        ("uniform", stats.uniform(-np.sqrt(3), 2 * np.sqrt(3))),
        ("exponential", stats.expon(-1)),
        ("gumbel", stats.gumbel_r(-np.euler_gamma * np.sqrt(6) / np.pi, np.sqrt(6) / np.pi)),
        ("cauchy", stats.cauchy(scale=1 / 1.4826)),
    ],
)
def test_noise_follows_the_law_it_is_called(name, law):
    assert stats.kstest(drawn(name).ravel()[:20_000], law.cdf).pvalue > 1e-3


def test_a_mixture_has_two_humps_in_some_tables():
    values = drawn("mixture").reshape(SHAPE[0], -1)
    kurtosis = stats.kurtosis(values, axis=1)
    assert kurtosis.min() < -1
    assert stats.kurtosis(values[kurtosis.argmax()]) > -0.3


def test_each_table_has_its_own_family_and_no_value_beyond_the_limit():
    families = ["cauchy", "uniform"] * 50
    values = noises.draw_noise(np.random.default_rng(1), families, 3, 2000)
    assert np.abs(values[0::2]).max() == noises.MAX_DEVIATIONS
    assert np.abs(values[1::2]).max() <= np.sqrt(3)
    assert sum(noises.NOISE_SHARES.values()) == pytest.approx(1)
