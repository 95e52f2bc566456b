import torch

from component_scenes import Planted, planted_point
from intaglio.explain.components.methods.activation_patching import ActivationPatching
from intaglio.explain.components.methods.attribution_patching import AttributionPatching
from intaglio.explain.components.methods.ig_patching import IntegratedPatching

SMALL = {"draws": 2, "steps": 2, "branches": "feed-forward", "unit": "branch", "points": 2}
BAD = {"points": 0}
PIECES = {"batch": 1}


def test_the_effects_of_a_branch_add_up_to_that_of_the_branch_as_a_whole():
    model = Planted(torch.tanh)
    point, whole = planted_point(model), planted_point(model, whole=True)
    exact = torch.cat(ActivationPatching().effects(whole, [0, 1]))
    found = torch.stack([one.sum() for one in IntegratedPatching(points=40, batch=7).effects(point, [0, 1])])
    torch.testing.assert_close(found, exact, rtol=1e-3, atol=1e-4)
    slope = torch.stack([one.sum() for one in AttributionPatching().effects(point, [0, 1])])
    assert float((slope[0] - exact[0]).abs()) > 0.01


def test_passes_are_those_that_the_denoiser_sees():
    model = Planted(torch.tanh)
    point = planted_point(model)
    IntegratedPatching(points=5, batch=2).effects(point, [0, 1])
    back = 5 * 2
    assert model.asked + back == IntegratedPatching(points=5).passes([4, 4])
