import numpy as np
import pytest
import torch

from explain_scenes import HEAD, SIDE, additive, pictures, planted
from intaglio.explain.blank import blank_of
from intaglio.explain.faithfulness import faithfulness
from intaglio.explain.heat_maps import coloured
from intaglio.explain.methods.grad_cam import GradCAM
from intaglio.explain.methods.kernel_shap import KernelSHAP
from intaglio.explain.methods.lima import LiMA
from intaglio.explain.methods.lime import LIME
from intaglio.explain.methods.occlusion import HiddenSquares
from intaglio.explain.methods.rise import RISE
from intaglio.explain.methods.smdl import SMDL
from intaglio.images.image_set import ImageSet
from intaglio.models.classifiers import new_classifier
from intaglio.models.scored_network import classifier_score

GREY = torch.full((3, SIDE, SIDE), 0.5)
GREY[:, :4] = 0.0


def by_grey(blank):
    """The share of the first four rows that are black, where the rest of the picture does not matter."""

    def logit(pixels):
        return 8 * (pixels[:, 0, :4] == 0).float().mean((1, 2)) - 4 + 0 * blank

    return planted(logit)


def areas(shown):
    """Area under sigmoid(8 s - 4) over 64 steps, s the share of the rows that are black at each."""
    values = 1 / (1 + np.exp(4 - 8 * np.array(shown)))
    return float(np.trapezoid(values, dx=1 / 64))


def test_insertion_deletion_and_chance_by_hand():
    """The rows that matter come first: a quarter of the area; the class is the likelier one only at the end."""
    map_ = torch.zeros(SIDE, SIDE)
    map_[:4] = 1.0
    scored, steps = by_grey(0), np.arange(65) / 64
    found = faithfulness(scored, GREY, torch.full_like(GREY, 0.5), 0, map_, (0, "a"))
    assert found.insertion == pytest.approx(areas(np.minimum(4 * steps, 1)), abs=1e-5)
    assert found.deletion == pytest.approx(areas(np.maximum(1 - 4 * steps, 0)), abs=1e-5)
    assert found.chance == pytest.approx(areas(steps), abs=0.02)
    other = faithfulness(scored, GREY, torch.full_like(GREY, 0.5), 1, map_, (0, "a"))
    assert other.insertion == pytest.approx(1 - found.insertion, abs=1e-5)
    reversed_ = faithfulness(scored, GREY, torch.full_like(GREY, 0.5), 0, -map_, (0, "a"))
    assert reversed_.insertion == pytest.approx(areas(np.maximum(4 * steps - 3, 0)), abs=1e-5)
    assert reversed_.chance == found.chance


def test_a_result_tests_its_maps_on_the_blank_of_the_method_and_for_the_class_that_is_asked():
    images = ImageSet.from_pixels(GREY[None])
    for target in (0, 1):
        method = HiddenSquares(window=4, stride=4, blank="mean")
        (row,) = method(by_grey(0), images, [target]).pictures
        blank = blank_of("mean", GREY)
        map_ = method.attributed(by_grey(0), GREY, target, images.hashes[0]).map
        assert row.faithful == faithfulness(by_grey(0), GREY, blank, target, map_, (0, images.hashes[0]))
        assert (row.target, row.called) == (target, 0)
        white = faithfulness(by_grey(0), GREY, torch.zeros_like(GREY), target, map_, (0, images.hashes[0]))
        assert row.faithful != white


@pytest.mark.parametrize(
    "method",
    [
        LiMA(regions=4, cut="grid", pending=1, blank="mean"),
        SMDL(regions=4, cut="grid", blank="mean"),
        KernelSHAP(regions=4, cut="grid", samples=8, blank="mean"),
        LIME(regions=4, cut="grid", samples=20, blank="mean"),
        RISE(masks=8, grid=2, blank="mean"),
        HiddenSquares(window=8, stride=8, blank="mean"),
    ],
    ids=lambda one: one.name,
)
def test_what_is_hidden_is_the_blank_that_was_asked_for(method):
    """No picture that the network sees has a number that is neither the picture's nor the mean's, nor between them."""
    (pixels,) = pictures(1).pixels
    blank, seen = blank_of("mean", pixels), []

    def logit(given):
        seen.append(given)
        return given.mean((1, 2, 3))

    method.attributed(planted(logit), pixels, 0, "a")
    every = torch.cat(seen)
    low, high = torch.minimum(pixels, blank), torch.maximum(pixels, blank)
    assert bool(((every >= low - 1e-5) & (every <= high + 1e-5)).all())
    assert float((every - pixels).abs().max()) > 0.05


def test_each_picture_has_its_own_map_class_and_name_in_the_order_given():
    terms = torch.tensor([0.3, 0.9, -0.4, 0.5])
    images = ImageSet.from_pixels(torch.cat([pictures(3).pixels, GREY[None]]), ["d", "b", "a", "c"])
    method = HiddenSquares(window=8, stride=8, blank="white")
    found = method(additive(terms), images, [0, 1, 0, 1])
    assert [one.name for one in found.pictures] == ["d", "b", "a", "c"]
    for place, target in enumerate([0, 1, 0, 1]):
        alone = method.attributed(additive(terms), images.pixels[place], target, "x").map
        torch.testing.assert_close(found.maps[place], alone)
    assert torch.equal(found.maps[0], -found.maps[1])
    backwards = method(additive(terms), images[[3, 2, 1, 0]], [1, 0, 1, 0])
    torch.testing.assert_close(backwards.maps, found.maps.flip(0))


def test_the_called_class_is_the_likeliest_and_not_the_one_that_is_asked():
    net = new_classifier({HEAD: ("yes", "no")}, 0, widths=(4,), repeats=(1,)).eval().requires_grad_(False)
    with torch.no_grad():
        net.heads[HEAD].bias.copy_(torch.tensor([-50.0, 50.0]))
    (row,) = GradCAM()(classifier_score(net, HEAD, side=SIDE), pictures(1), [0]).pictures
    assert (row.target, row.called) == (0, 1)


def test_a_picture_that_is_its_blank_has_an_empty_map_which_stays_white():
    images = ImageSet.from_pixels(torch.ones(1, 3, SIDE, SIDE))
    for method in (LiMA(regions=4, cut="grid"), RISE(masks=8), HiddenSquares()):
        found = method(additive(torch.ones(4)), images, [0])
        assert not bool(found.maps.any())
        assert found.pictures[0].passes == 0
    assert float(coloured(1e-8 * torch.randn(4, 4)).min()) > 0.99
