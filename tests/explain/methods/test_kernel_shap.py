import pytest
import torch

from explain_scenes import additive, pictures
from intaglio.explain.methods.kernel_shap import KernelSHAP

SMALL = {"regions": 16, "cut": "grid", "samples": 40}
BAD = {"samples": 1}
PIECES = {"batch": 7}


def test_a_pair_that_works_together_shares_its_effect():
    """f = sum a_i m_i + b m_0 m_1: each of the two has a_i + b / 2; a value is spread over its 64 pixels."""
    terms, pairs = torch.tensor([0.3, 0.9, 0.1, 0.5]), torch.zeros(4, 4)
    pairs[0, 1] = 2.0
    found = KernelSHAP(regions=4, cut="grid", samples=8, blank="white").attributed(
        additive(terms, pairs), pictures(1).pixels[0], 0, "a"
    )
    corners = 64 * found.map[[0, 0, -1, -1], [0, -1, 0, -1]]
    torch.testing.assert_close(corners, torch.tensor([1.3, 1.9, 0.1, 0.5]), atol=1e-4, rtol=0)
    assert found.passes == 16


def test_the_fit_to_random_sets_of_a_sum_is_the_sum():
    terms = torch.linspace(-1, 1, 16)
    found = KernelSHAP(regions=16, cut="grid", samples=200, blank="white").attributed(
        additive(terms), pictures(1).pixels[0], 0, "a"
    )
    values = 16 * found.map[2::4, 2::4].flatten()
    torch.testing.assert_close(values, terms, atol=2e-3, rtol=0)
    assert float(found.map.sum()) == pytest.approx(float(terms.sum()), abs=1e-2)
