"""The losses by hand, and the ladder at its ends."""

import math

import pytest
import torch
from scipy.stats import entropy

from intaglio.learning.noise_consistency import consistent_loss, info_nce, noise_ladder


def test_info_nce_by_hand():
    """Cosines 1 and 0 at a temperature of 0.5: each row's own key is one of two, at e^2 beside e^0."""
    asked, keys = torch.tensor([[2.0, 0.0], [0.0, 3.0]]), torch.tensor([[5.0, 0.0], [0.0, 0.1]])
    assert float(info_nce(asked, keys, 0.5)) == pytest.approx(math.log(1 + math.exp(-2)))
    assert float(info_nce(asked, keys.flip(0), 0.5)) == pytest.approx(math.log(1 + math.exp(2)))
    turned = torch.tensor([[3.0, 4.0], [0.0, 1.0]])  # cosines: 0.6 and 0.8; 0 and 1
    wanted = (math.log(1 + math.exp(0.4)) + math.log(1 + math.exp(-2))) / 2
    assert float(info_nce(turned, keys, 0.5)) == pytest.approx(wanted)


def test_copies_that_agree_have_cross_entropy_alone_and_others_pay_by_divergence():
    p = torch.tensor([[[0.7, 0.2, 0.1], [0.5, 0.25, 0.25]], [[0.1, 0.6, 0.3], [0.5, 0.25, 0.25]]])
    labels = torch.tensor([0, 2])
    crossed = -(math.log(0.7) + math.log(0.1) + 2 * math.log(0.25)) / 4
    mean = p.mean(0)
    apart = sum(entropy(mean[0], one) for one in p[:, 0]) / 2 / 2  # of two pictures, one agrees
    unsure = sum(entropy(one) for one in mean) / 2
    assert float(consistent_loss(p.log(), labels, 0.0, 0.0)) == pytest.approx(crossed, rel=1e-5)
    assert float(consistent_loss(p.log() + 3, labels, 10.0, 0.5)) == pytest.approx(
        crossed + 10 * apart + 0.5 * unsure, rel=1e-5
    )
    alone = consistent_loss(p.log(), torch.tensor([0, -1]), 10.0, 0.0)
    assert float(alone) == pytest.approx(-(math.log(0.7) + math.log(0.1)) / 2 + 10 * 2 * apart, rel=1e-5)
    assert float(consistent_loss(p.log(), torch.tensor([-1, -1]), 10.0, 0.5)) == 0


def test_the_ladder_rises_from_end_to_end_and_is_denser_below():
    levels = noise_ladder(20, 0.002, 80.0)
    assert (float(levels[0]), float(levels[-1])) == (pytest.approx(0.002), pytest.approx(80.0))
    steps = levels.diff()
    assert (steps > 0).all()
    assert (steps.diff() > 0).all()
    middle = ((0.002 ** (1 / 7) + 80 ** (1 / 7)) / 2) ** 7
    assert float(noise_ladder(3, 0.002, 80.0)[1]) == pytest.approx(middle)
    assert noise_ladder(5, 1.0, 2.0, rho=1.0).tolist() == pytest.approx([1, 1.25, 1.5, 1.75, 2])
    for rungs, lowest, highest, rho in ((1, 0.1, 1.0, 7.0), (5, 0.0, 1.0, 7.0), (5, 2.0, 1.0, 7.0), (5, 0.1, 1.0, 0.5)):
        with pytest.raises(ValueError, match="does not rise"):
            noise_ladder(rungs, lowest, highest, rho)
