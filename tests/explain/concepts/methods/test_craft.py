from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from explain_scenes import HEAD, pictures, untrained
from intaglio.errors import BadInput
from intaglio.explain.concepts.concept_parts import crops_with_most, left_share, spread
from intaglio.explain.concepts.methods.craft import CRAFT
from intaglio.explain.concepts.methods.principal import PrincipalConcepts
from intaglio.explain.layer_maps import layer_maps, scores_with_maps
from intaglio.images.image_set import ImageSet
from intaglio.models.classifiers import new_classifier
from intaglio.models.scored_network import classifier_score

SMALL = {"count": 3, "points": 4, "divided": 3, "parts": 2}
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


class Merged(nn.Module):
    """Maps of nine channels to four: red and green ink have two of them together, blue ink the others."""

    def forward(self, maps):
        red, green, blue = maps.split(3, 1)
        warm, cold = (red + green).sum(1, keepdim=True), blue.sum(1, keepdim=True)
        return nn.functional.avg_pool2d(torch.cat([warm, 2 * warm, cold, cold], 1), 2)


def merging():
    """A network that keeps three inks apart and then merges two of them, and pictures of one ink each."""
    net = new_classifier({HEAD: ("yes", "no")}, 0, widths=(4,), repeats=(1,)).eval().requires_grad_(False)
    net.stages = nn.Sequential(Colours(), Merged())
    with torch.no_grad():
        net.heads[HEAD].weight.copy_(torch.tensor([[0.1, 0.1, 2.0, 2.0], [0.0, 0.0, 0.0, 0.0]]))
    source = torch.Generator().manual_seed(0)
    order = ("red", "green", "blue", "blue", "blue") * 2  # blue has most of the score, as it is in most pictures
    colours = torch.tensor([("red", "green", "blue").index(one) for one in order]).view(10, 1, 1, 1)
    strengths = 0.2 + 0.8 * torch.rand(10, 1, 4, 4, generator=source)
    ink = torch.zeros(10, 3, 4, 4).scatter(1, colours.expand(10, 1, 4, 4), strengths)
    pixels = 1 - ink.repeat_interleave(4, 2).repeat_interleave(4, 3)
    images = ImageSet.from_pixels(pixels, [f"{one} {k}" for k, one in enumerate(order)])
    return classifier_score(net, HEAD, "logit", side=16), images


def colours_of(examples):
    return {name.split()[0] for name, *_ in examples}


def test_a_concept_that_the_last_layer_merges_is_divided_by_an_earlier_one():
    scored, images = merging()
    found = CRAFT(count=2, points=8, divided=1, parts=2)(scored, images, 0)
    assert (found.layer, found.earlier) == ("stages", "stages.0")
    cold, warm = found.concepts  # the first is not the one that is divided
    assert colours_of(cold.examples) == {"blue"}
    assert colours_of(warm.examples) == {"red", "green"}  # one concept of both
    assert (cold.parts, cold.spread_left) == ((), None)
    assert cold.spread < 1e-6 < 0.1 < warm.spread
    assert warm.spread_left < 1e-6
    bank = scored.network.stages[0].bank
    overlap = torch.stack([part.direction for part in warm.parts]) @ bank.T
    colours = [("red", "green", "blue")[k] for k in overlap.argmax(1).tolist()]
    assert sorted(colours) == ["green", "red"]
    assert float(overlap.max(1).values.min()) > 0.999
    assert [colours_of(part.examples) for part in warm.parts] == [{one} for one in colours]
    first, second = (part.share for part in warm.parts)
    assert first >= second > 0
    assert first + second == pytest.approx(1)
    assert sum(len(part.examples) for part in warm.parts) == 9  # a tenth of 10 x 9 crops
    (one, other), (top, next_top) = (part.share for part in warm.parts), (part.examples[0][0] for part in warm.parts)
    told = f"concept 1 = 1a ({one:.0%}, most of it in {top}) + 1b ({other:.0%}, most of it in {next_top})"
    assert f"By layer stages.0, {told}." in found.statement
    lines = [(row["concept"], row["part"]) for row in found.rows()]
    assert lines == [(0, None), (1, None), (1, "a"), (1, "b")]


def test_the_spread_is_what_the_best_direction_leaves():
    rows = np.array([[3.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 1.0]])
    assert spread(rows) == pytest.approx(5 / 14)
    assert spread(np.outer([1.0, 2.0, 5.0], [1.0, 1.0])) == pytest.approx(0, abs=1e-12)
    codes = np.array([0.0, 3.0, 1.0, *[0.0] * 8, 2.0, *[0.0] * 18])  # a tenth of thirty are three
    assert crops_with_most(codes).tolist() == [1, 11, 2]
    codes[1] = 0.0
    assert crops_with_most(codes).tolist() == [11, 2]  # a crop without any is not of the concept


def test_parts_that_cannot_be_found_are_refused():
    scored, images = merging()
    few = CRAFT(count=2, points=4, divided=1, parts=2)
    with pytest.raises(BadInput, match="no layer with larger maps before stages.0; name one by --earlier"):
        replace(few, layer="stages.0")(scored, images, 0)
    with pytest.raises(BadInput, match=r"layer stages.1 of the parts is not before stages.0; name an earlier one"):
        replace(few, layer="stages.0", earlier="stages.1")(scored, images, 0)
    with pytest.raises(
        BadInput, match="the tenth of 18 crops that have most of it, and by 9 channels, too few for 3 parts"
    ):
        replace(few, parts=3)(scored, images[[0, 1]], 0)
    with pytest.raises(BadInput, match=r"layer stages.0.0.0 goes below 0"):
        replace(few, earlier="stages.0.0.0")(untrained(), pictures(3), 0)


def test_parts_are_of_the_last_layer_with_larger_maps_where_none_is_named():
    net = new_classifier({HEAD: ("yes", "no")}, 0, widths=(4, 4, 4), repeats=(1, 1, 1)).eval()
    scored = classifier_score(net, HEAD, side=16)
    assert CRAFT(count=2, divided=1).layers_of(scored) == ("stages", "stages.1")
    assert CRAFT(count=2, divided=1, layer="stages.1").layers_of(scored) == ("stages.1", "stages.0")
    assert CRAFT(count=2).layers_of(scored) == ("stages", "")


@pytest.mark.parametrize("idle", [{"parts": 4}, {"earlier": "stages.0"}])
def test_parts_of_nothing_are_refused(idle):
    with pytest.raises(ValueError, match="give divided too"):
        CRAFT(**idle)


def test_parts_of_few_crops_are_warned_of():
    scored, images = merging()
    found = CRAFT(count=2, points=2, divided=1, parts=2)(scored, images, 0)
    assert [one.split(",")[0] for one in found.warnings] == ["parts of concept 1 are of fewer than 5 crops"]  # 8 and 1
    whole = replace(found, concepts=(found.concepts[0], replace(found.concepts[1], parts=())))
    assert whole.warnings == []


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


def test_what_parts_leave_is_a_share_of_all_squares():
    features, bank = np.array([[3.0, 0.0], [0.0, 4.0]]), np.array([[1.0, 0.0]])
    assert left_share(features, np.array([[2.0], [0.0]]), bank) == pytest.approx((1 + 16) / 25)
