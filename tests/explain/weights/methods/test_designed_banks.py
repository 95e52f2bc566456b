"""Shares of designed banks for layers that are made of known filters."""

import numpy as np
import pytest
import torch

from intaglio.explain.weights.filter_banks import BANKS, explained
from intaglio.explain.weights.kernel_layers import KernelLayer
from intaglio.explain.weights.methods.designed_banks import DesignedBanks

SMALL = {"draws": 2, "banks": 1}
BAD = {"most": 0}
PIECES = {}


def cosine(i, j, side=3):
    """A filter of the discrete cosine transform, unnormalised."""
    place = (2 * np.arange(side) + 1) * np.pi / (2 * side)
    return np.outer(np.cos(i * place), np.cos(j * place))


def planted(count=60):
    weights = np.random.default_rng(3).standard_normal((count, 3)) * [3, 2, 1]
    return weights @ np.array([cosine(0, 0), cosine(1, 0), cosine(2, 1)]).reshape(3, 9)


def test_three_cosines_are_explained_by_three_cosines_and_by_no_three_random_filters():
    rows = planted()
    shares = explained(rows, BANKS["cosines"](3, 3).reshape(9, 9), 4)
    assert shares[2] == pytest.approx(1, abs=1e-9)
    assert shares[1] < 0.99
    assert shares[3] == pytest.approx(1, abs=1e-9)
    bank = np.random.default_rng(4).standard_normal((9, 9))
    assert explained(rows, bank, 3)[2] < 0.95
    assert explained(rows, bank, 9)[8] == pytest.approx(1, abs=1e-9)  # nine filters span everything


def test_the_share_of_chosen_filters_is_that_of_least_squares():
    rng = np.random.default_rng(5)
    rows, bank = rng.standard_normal((40, 9)), rng.standard_normal((2, 9))
    left = rows.T - bank.T @ np.linalg.lstsq(bank.T, rows.T, rcond=None)[0]
    assert explained(rows, bank, 2)[1] == pytest.approx(1 - (left**2).sum() / (rows**2).sum())


def test_the_cosines_are_an_orthonormal_basis_from_the_lowest_frequency_on():
    bank = BANKS["cosines"](3, 4).reshape(12, 12)
    np.testing.assert_allclose(bank @ bank.T, np.eye(12), atol=1e-12)
    np.testing.assert_allclose(bank[0], np.full(12, 12**-0.5))
    np.testing.assert_allclose(BANKS["cosines"](3, 3)[1], cosine(0, 1) / np.linalg.norm(cosine(0, 1)), atol=1e-12)


def test_the_second_gaussian_derivative_is_that_of_finite_differences():
    x = np.array([-1.0, 0, 1])
    bell = lambda at: np.exp(-(at**2) / 2)  # noqa: E731
    second = (bell(x + 1e-4) - 2 * bell(x) + bell(x - 1e-4)) / 1e-8
    np.testing.assert_allclose(BANKS["derivatives"](1, 3)[2, 0], second, atol=1e-6)


def test_a_layer_of_cosines_is_designed_and_a_random_one_is_not():
    layers = [
        KernelLayer("cosines", torch.tensor(planted()).reshape(20, 3, 3, 3).float()),
        KernelLayer("noise", torch.randn(20, 30, 3, 3, generator=torch.Generator().manual_seed(6))),
    ]
    found = DesignedBanks().figures(layers[0].kernels)
    assert found["cosines"] > found["random_bank"]
    assert found["own"] >= max(found[name] for name in BANKS)
    assert [one.verdict for one in DesignedBanks()(layers).layers] == ["designed", "random"]


def test_a_layer_that_is_ahead_of_random_ones_by_little_of_what_it_could_be_is_partly_designed():
    skewed = torch.randn(20, 30, 9, generator=torch.Generator().manual_seed(7))
    skewed[..., [1, 5]] *= 2  # two places that no few filters of a bank single out
    skewed = skewed.reshape(20, 30, 3, 3) + 0.25
    (found,) = DesignedBanks()([KernelLayer("skewed", skewed)]).layers
    ahead, *_, by_chance, own = found.figures
    assert found.chance < ahead < (own - by_chance) / 2
    assert found.verdict == "partly"
