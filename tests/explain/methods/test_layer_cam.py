import torch
from torch.nn.functional import interpolate

from explain_scenes import pictures, untrained
from intaglio.explain.methods.layer_cam import LayerCAM

SMALL = {}
BAD = {"batch": 0}
PIECES = {"batch": 1}


def test_the_map_is_the_layers_maps_by_their_own_positive_gradients():
    scored, pixels = untrained(), pictures(1).pixels[0]
    network = scored.network
    maps = network.stages[0](1 - pixels[None]).detach().requires_grad_()
    top = network.heads["kind"](network.pool(network.stages[1:](maps)).flatten(1))
    (slope,) = torch.autograd.grad(scored.scored(top, 1).sum(), maps)
    raw = (slope.clamp(min=0) * maps).sum(1, keepdim=True).clamp(min=0).detach()
    found = LayerCAM(layer="stages.0").attributed(scored, pixels, 1, "a").map
    torch.testing.assert_close(found, interpolate(raw, (16, 16), mode="bilinear")[0, 0])
    assert not torch.equal(found, LayerCAM().attributed(scored, pixels, 1, "a").map)
    assert not any(module._forward_hooks for module in network.modules())
