import pytest
import torch

from explain_scenes import pictures, planted, untrained
from intaglio.errors import BadInput
from intaglio.explain.gradient_settings import smoothed
from intaglio.explain.methods.input_gradient import InputGradient

SMALL = {}
BAD = {"smooth": 4}
PIECES = {"batch": 1}


def test_a_linear_score_is_split_exactly():
    weights = torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(0))
    scored, pixels = planted(lambda given: (given * weights).sum((1, 2, 3))), pictures(1).pixels[0]
    found = InputGradient(blank="white").attributed(scored, pixels, 0, "a").map
    torch.testing.assert_close(found, ((pixels - 1) * weights).sum(0))
    with torch.no_grad():
        whole = scored.score(torch.stack([pixels, torch.ones_like(pixels)]), 0)
    assert float(found.sum()) == pytest.approx(float(whole[0] - whole[1]), rel=1e-4)


def test_at_a_layer_the_maps_are_what_is_added_there():
    scored, pixels = untrained(), pictures(1).pixels[0]
    network = scored.network
    maps = network.stages[0](1 - pixels[None]).detach().requires_grad_()
    top = network.heads["kind"](network.pool(network.stages[1:](maps)).flatten(1))
    (slope,) = torch.autograd.grad(scored.scored(top, 2).sum(), maps)
    blank = network.stages[0](torch.zeros(1, 3, 16, 16))
    raw = ((maps - blank) * slope).sum(1, keepdim=True).detach()
    expected = torch.nn.functional.interpolate(raw, (16, 16), mode="bilinear")[0, 0]
    found = InputGradient(layer="stages.0", blank="white").attributed(scored, pixels, 2, "a").map
    torch.testing.assert_close(found, expected)
    with pytest.raises(BadInput, match=r"no layer 'stages.7' with maps"):
        InputGradient(layer="stages.7").check(scored)


def test_the_kernel_is_a_gaussian_of_a_quarter_of_its_side():
    spike = torch.zeros(11, 13)
    spike[5, 6] = 2.0
    found = smoothed(spike, 5)
    reach = torch.exp(-0.5 * (torch.arange(-2, 3) / 1.25) ** 2)
    reach = reach / reach.sum()
    torch.testing.assert_close(found[3:8, 4:9], 2 * torch.outer(reach, reach))
    assert float(found.sum()) == pytest.approx(2.0)
    assert float(found[2].abs().sum()) == 0.0
    pixels, scored = pictures(1).pixels[0], untrained()
    raw = InputGradient().attributed(scored, pixels, 0, "a").map
    torch.testing.assert_close(InputGradient(smooth=5).attributed(scored, pixels, 0, "a").map, smoothed(raw, 5))
