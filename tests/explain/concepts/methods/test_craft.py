import numpy as np
import pytest
import torch
from torch import nn

from explain_scenes import HEAD, pictures, untrained
from intaglio.errors import BadInput
from intaglio.explain.concepts.methods.craft import CRAFT
from intaglio.explain.concepts.methods.principal import PrincipalConcepts
from intaglio.explain.layer_maps import layer_maps, scores_with_maps
from intaglio.images.image_set import ImageSet
from intaglio.models.classifiers import new_classifier
from intaglio.models.scored_network import classifier_score

SMALL = {"count": 3, "points": 4}
BAD = {"points": 3}
PIECES = {"batch": 3}


class Colours(nn.Module):
    """Ink [n, 3, h, w] to maps of nine channels, which mix three disjoint concepts: red, green and blue ink."""

    def __init__(self):
        super().__init__()
        bank = torch.zeros(3, 9)
        for k in range(3):
            bank[k, 3 * k : 3 * k + 3] = torch.tensor([1.0, 2.0, 2.0]) / 3
        self.bank = bank

    def forward(self, ink):
        return torch.einsum("nkhw,kc->nchw", nn.functional.avg_pool2d(ink, 4), self.bank)


def planted(weights):
    """A network whose logit is the weighted sum of the mean ink of three colours, and its pictures."""
    net = new_classifier({HEAD: ("yes", "no")}, 0, widths=(9,), repeats=(1,)).eval().requires_grad_(False)
    net.stages = nn.Sequential(Colours())
    with torch.no_grad():
        net.heads[HEAD].weight.copy_(torch.stack([torch.tensor(weights) @ net.stages[0].bank, torch.zeros(9)]))
    source = torch.Generator().manual_seed(0)
    colours = torch.randint(0, 3, (6, 1, 2, 2), generator=source)  # of each quarter, one ink alone
    strengths = torch.rand(6, 1, 2, 2, generator=source)
    ink = torch.zeros(6, 3, 2, 2).scatter(1, colours, 0.2 + 0.8 * strengths)
    images = ImageSet.from_pixels(1 - ink.repeat_interleave(8, 2).repeat_interleave(8, 3))
    return classifier_score(net, HEAD, "logit", side=16), images


def test_planted_directions_are_found_and_ranked_by_what_the_score_owes_them():
    """The logit is sum_k w_k u_k m_k over random strengths m: total effects go as (w_k mean u_k)^2."""
    scored, images = planted([3.0, -1.0, 0.2])
    found = CRAFT(count=3, points=256)(scored, images, 0)
    overlap = (found.bank @ scored.network.stages[0].bank.T).abs()
    colour = overlap.argmax(1).tolist()
    assert sorted(colour) == [0, 1, 2]
    assert float(overlap.max(1).values.min()) > 0.999
    assert found.left < 1e-4
    ink = (1 - images.pixels).mean((2, 3)).numpy() * np.array([3.0, -1.0, 0.2])
    expected = (ink**2 / (ink**2).sum(1, keepdims=True)).mean(0)
    importances = [one.importance for one in found.concepts]
    np.testing.assert_allclose(importances, expected[colour], atol=0.03)
    assert importances == sorted(importances, reverse=True)


def test_a_concepts_map_is_where_its_code_comes_from():
    scored, _ = planted([1.0, 0.5, 0.1])
    pixels = torch.ones(2, 3, 16, 16)
    pixels[:, 0, :8, :8] = 0.0  # red ink in one corner
    pixels[:, 2, 8:, 8:] = 0.0  # blue ink in the other
    found = CRAFT(count=2, points=8)(scored, ImageSet.from_pixels(pixels), 0)
    red, blue = (one.maps[0] for one in found.concepts)
    assert float(red[:6, :6].min()) > 0.9 * float(red.max())
    assert float(red[10:, 10:].max()) == 0
    assert float(blue[10:, 10:].min()) > 0.9 * float(blue.max())
    assert found.concepts[0].examples[0][1:3] == (0, 0)


def test_the_score_of_its_own_maps_is_the_score_of_the_picture():
    scored, pixels = untrained(), pictures(1).pixels
    maps = layer_maps(scored, "stages.1", pixels)
    found = scores_with_maps(scored, "stages.1", pixels[0], maps, 2, 8)
    with torch.no_grad():
        assert found[0] == pytest.approx(float(scored.score(pixels, 2)), abs=1e-6)
    assert not any(module._forward_hooks for module in scored.network.modules())


def test_concepts_that_cannot_be_found_are_refused():
    scored = untrained()
    with pytest.raises(BadInput, match="there is 1; give 2 or more"):
        CRAFT(count=2)(scored, pictures(1), 0)
    with pytest.raises(BadInput, match="no part that differs from its border"):
        CRAFT(count=2)(scored, ImageSet.from_pixels(torch.ones(2, 3, 16, 16)), 0)
    with pytest.raises(BadInput, match="have no 7 concepts; give a smaller --count"):
        CRAFT(count=7)(scored, pictures(3), 0)
    with pytest.raises(BadInput, match=r"layer stages.0.0.0 goes below 0"):
        PrincipalConcepts(count=2, layer="stages.0.0.0")(scored, pictures(3), 0)
