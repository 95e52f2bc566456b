import numpy as np
import pytest

from debias_scenes import berkson, rows_of
from intaglio.causal.debias.methods.tweedie import TweedieCorrection
from intaglio.errors import BadInput

SMALL = {"resamples": 50, "folds": 2}
BAD = {"bandwidth": -1.0}
PIECES = {}


@pytest.mark.parametrize(("count", "slope"), [(1000, 1.63), (4000, 1.65)])
def test_normal_predictions_are_stretched_a_little_less_than_by_the_inverse_of_their_share(count, slope):
    """A kernel of Scott's width h = n^-0.2 widens the variance v by 1 + h^2: the factor is 1 + s^2 / (v (1 + h^2))."""
    grid, found = np.linspace(-0.5, 0.5, 11), []
    for seed in range(3):
        corrected = TweedieCorrection().fit(berkson(count, seed))(grid)
        found.append(np.polyfit(grid, corrected, 1)[0])
    width = count**-0.2
    assert slope == pytest.approx(1 + 0.4 / (0.6 * (1 + width**2)), abs=0.015)
    assert np.mean(found) == pytest.approx(slope, abs=0.09)


def test_the_density_is_of_the_kernel_that_is_asked_for_and_noise_is_that_of_the_residuals():
    rows = rows_of(np.array([0.0, 2.0]), np.array([0.0, 0.0 + 1.0]))
    spread = np.array([0.0, 1.0]).std(ddof=1)
    width = 0.5 * spread  # of the kernel
    at = 0.3
    near = np.exp(-0.5 * ((at - np.array([0.0, 1.0])) / width) ** 2)
    slope = (near * (np.array([0.0, 1.0]) - at)).sum() / (near.sum() * width**2)
    noise = np.array([0.0, -1.0]).var(ddof=1)
    found = TweedieCorrection(bandwidth=0.5).fit(rows)(np.array([at]))
    assert found == pytest.approx([at - noise * slope], rel=1e-4)


def test_predictions_without_a_density_are_refused():
    with pytest.raises(BadInput, match="all the same"):
        TweedieCorrection().fit(rows_of(np.arange(5.0), np.ones(5)))
