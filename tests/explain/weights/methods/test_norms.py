import pytest
import torch

from intaglio.explain.weights.methods.norms import KernelNorms

SMALL = {"draws": 2}
BAD = {"draws": 1}
PIECES = {}


def test_spread_gain_and_shift_by_hand():
    kernels = torch.tensor([3.0, 4, 1, 0]).reshape(2, 1, 1, 2)  # norms 5 and 1
    figures = KernelNorms().figures(kernels)
    assert figures["spread"] == pytest.approx(2 / 3)
    assert figures["gain"] == pytest.approx((26 / 4) ** 0.5 * 2**0.5)
    assert KernelNorms().shift(kernels, 2 * kernels) == pytest.approx(0.5)
    assert KernelNorms().shift(kernels, kernels) == 0
