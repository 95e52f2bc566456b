"""COMET: its loss by hand, what it leaves out, and evidence that stands twice."""

import math

import pytest
import torch
from torch import nn

from intaglio.explain.selectors.labelled_lessons import HEAD
from intaglio.explain.selectors.methods.comet import Comet
from intaglio.models.classifiers import PictureClassifier

SMALL = {"epochs": 1, "rows": 6, "widths": (4,), "selector_widths": (4, 8)}
BAD = {"completeness": -1.0}
PIECES = {"batch": 1}


class Sums(PictureClassifier):
    """The logit of the first class is the sum of the red ink times a weight, that of the second is 0."""

    def __init__(self, weight: float):
        super().__init__({HEAD: ("red", "other")}, (1,), (1,))
        self.weight = nn.Parameter(torch.tensor(weight))

    def logits(self, pixels, head, sigma=None):
        ink = self.weight * (1 - pixels[:, 0]).sum((1, 2))
        return torch.stack([ink, torch.zeros_like(ink)], 1)


@torch.no_grad()
def losses(method, *given):
    return method.losses(*given)


def test_the_loss_of_a_picture_of_four_pixels_is_that_of_a_calculation_by_hand():
    pixels = torch.ones(1, 3, 2, 2)
    pixels[0, 0] = torch.tensor([[0.0, 0.5], [1.0, 1.0]])  # red ink of 1 and 1/2
    masks = torch.tensor([[[0.8, 0.2], [0.6, 0.4]]])
    method = Comet(area=0.3, completeness=4.0, margin=2.0, area_weight=100.0)
    terms = losses(method, masks, pixels, torch.tensor([0]), torch.ones(3), Sums(3.0), Sums(2.0))
    told = math.log1p(math.exp(-3 * (0.8 + 0.1)))  # -log sigmoid of the logit of what is shown
    left = math.log1p(math.exp(-2 * (0.2 + 0.4)))
    assert float(terms.told) == pytest.approx(told, rel=1e-5)
    assert float(terms.left) == pytest.approx(4 * (told - left + 2), rel=1e-5)
    assert float(terms.area) == pytest.approx(100 * (0.5 - 0.3), rel=1e-5)
    # where the detector is further from the label than the margin asks, there is nothing to gain
    far = losses(Comet(margin=0.0), masks, pixels, torch.tensor([1]), torch.ones(3), Sums(-3.0), Sums(2.0))
    assert float(far.left) == 0
    # an area within what is allowed costs nothing, and no picture pays for another
    both = torch.cat([masks, 0 * masks])
    terms = losses(method, both, pixels.repeat(2, 1, 1, 1), torch.tensor([0, 0]), torch.ones(3), Sums(3.0), Sums(2.0))
    assert float(terms.area) == pytest.approx(100 * 0.2 / 2, rel=1e-5)


def test_what_is_hidden_is_of_the_fill_and_the_detector_sees_the_rest():
    seen = []

    class Noting(Sums):
        def logits(self, pixels, head, sigma=None):
            seen.append(pixels)
            return super().logits(pixels, head)

    fill = torch.tensor([0.2, 0.4, 0.6])
    pixels, masks = torch.rand(2, 3, 2, 2, generator=torch.Generator().manual_seed(0)), torch.zeros(2, 2, 2)
    losses(Comet(), masks, pixels, torch.tensor([0, 1]), fill, Noting(1.0), Noting(1.0))
    torch.testing.assert_close(seen[0], fill.view(1, 3, 1, 1).expand(2, 3, 2, 2))
    torch.testing.assert_close(seen[1], pixels)
