"""A selector without a detector: nothing is asked of what it leaves out."""

import torch

from intaglio.explain.selectors.labelled_lessons import HEAD
from intaglio.explain.selectors.methods.comet import Comet
from intaglio.explain.selectors.methods.without_detector import WithoutDetector
from intaglio.models.classifiers import new_classifier

SMALL = {"epochs": 1, "rows": 6, "widths": (4,), "selector_widths": (4, 8)}
BAD = {"area_weight": -1.0}
PIECES = {"batch": 1}


def test_its_loss_is_that_of_comet_at_no_completeness():
    source = torch.Generator().manual_seed(0)
    pixels, masks = torch.rand(4, 3, 8, 8, generator=source), torch.rand(4, 8, 8, generator=source)
    nets = [new_classifier({HEAD: ("a", "b")}, seed, (4,), (1,)).eval().requires_grad_(False) for seed in (0, 1)]
    given = (masks, pixels, torch.tensor([0, 1, 0, 1]), torch.ones(3), *nets)
    mine, other = WithoutDetector().losses(*given), Comet(completeness=0.0).losses(*given)
    assert (float(mine.left), float(other.left)) == (0, 0)
    assert (float(mine.told), float(mine.area)) == (float(other.told), float(other.area))
    assert float(Comet().losses(*given).left) > 0
