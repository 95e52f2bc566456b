import pytest
import torch
from captum.attr import LayerGradCam
from torch.nn.functional import interpolate

from explain_scenes import pictures, untrained
from intaglio.errors import BadInput
from intaglio.explain.methods.grad_cam import GradCAM

SMALL = {}
BAD = {"batch": 0}
PIECES = {"batch": 1}


def test_the_map_is_the_layers_maps_by_their_mean_gradient():
    scored, pixels = untrained(), pictures(1).pixels[0]
    found = GradCAM().attributed(scored, pixels, 1, "a")
    network = scored.network
    maps = network.stages(1 - pixels[None]).detach().requires_grad_()
    score = scored.scored(network.heads["kind"](network.pool(maps).flatten(1)), 1)
    (slope,) = torch.autograd.grad(score.sum(), maps)
    raw = (slope.mean((2, 3), keepdim=True) * maps).sum(1, keepdim=True).clamp(min=0).detach()
    expected = interpolate(raw, (16, 16), mode="bilinear")[0, 0]
    torch.testing.assert_close(found.map, expected)
    assert float(found.map.min()) >= 0
    assert float(found.map.max()) > 0


def test_the_map_is_captums():
    scored, pixels = untrained(), pictures(1).pixels[0]
    layer = scored.network.stages[0]
    with torch.enable_grad():
        given = pixels[None].clone().requires_grad_()
        raw = LayerGradCam(lambda one: scored.score(one, 2), layer).attribute(given, relu_attributions=True)
    expected = interpolate(raw.detach(), (16, 16), mode="bilinear")[0, 0]
    torch.testing.assert_close(GradCAM(layer="stages.0").attributed(scored, pixels, 2, "a").map, expected)


def test_another_layer_is_taken_by_its_name_and_a_wrong_one_refused():
    scored, pixels = untrained(), pictures(1).pixels[0]
    first = GradCAM(layer="stages.0").attributed(scored, pixels, 1, "a")
    assert not torch.equal(first.map, GradCAM().attributed(scored, pixels, 1, "a").map)
    with pytest.raises(BadInput, match=r"no layer 'stages.7' with maps; some that it has: .*stages.1"):
        GradCAM(layer="stages.7").check(scored)
    assert not any(module._forward_hooks for module in scored.network.modules())
