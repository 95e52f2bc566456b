import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from intaglio.metrics.gaussian_divergence import divergence_test, gaussian_divergence


def test_it_is_the_integral_of_the_log_ratio():
    a, b = np.array([[0.0], [1.0], [3.0]]), np.array([[2.0], [2.5], [4.0], [7.0]])
    p, q = (norm(x.mean(), x.std(ddof=1)) for x in (a, b))
    expected, _ = quad(lambda x: p.pdf(x) * (p.logpdf(x) - q.logpdf(x)), -30, 30)
    assert gaussian_divergence(a, b)[0] == pytest.approx(expected, rel=1e-6)
    assert gaussian_divergence(a, a)[0] == pytest.approx(0, abs=1e-12)


def test_one_law_has_an_even_p_and_another_mean_the_least_there_can_be():
    random = np.random.default_rng(0)
    same = [divergence_test(*random.normal(size=(2, 4, 5))) for _ in range(30)]
    assert 0.35 < np.mean([one.p for one in same]) < 0.65
    assert np.median([one.value for one in same]) == pytest.approx(np.median([one.null for one in same]), rel=0.5)
    a, b = random.normal(size=(2, 3, 10))
    far = divergence_test(a + 9, b)
    assert far.p <= 2 / 20, "of twenty deals of six models none is larger but the groups' exchange"
    assert far.value > 5 * far.null
    many = divergence_test(random.normal(size=(8, 5)), random.normal(size=(8, 5)) + 9)
    assert 1 / 2000 <= many.p <= 2 / 2000
