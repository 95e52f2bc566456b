"""Grids of pictures: their classes, each picture once, and networks that see one cell alone."""

import torch

from explain_scenes import classifier, pictures
from intaglio.explain.methods.grad_cam import GradCAM
from intaglio.explain.methods.input_gradient import InputGradient
from intaglio.explain.methods.layer_cam import LayerCAM
from intaglio.explain.pointing_grids import PictureGrid, picture_grids, split_score
from intaglio.metrics.localisation import share_within
from intaglio.models.scored_network import classifier_score


def split(cell):
    return split_score(classifier_score(classifier(), "kind", side=16), cell, 32)


def test_a_head_that_sees_one_cell_is_moved_by_nothing_outside():
    scored = split(3)
    pixels = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)).requires_grad_()
    (slope,) = torch.autograd.grad(scored.score(pixels, 1).sum(), pixels)
    cell = PictureGrid(pixels.detach()[0], (0, 1, 2, 3)).cell(3)
    assert cell[16:, 16:].all()
    assert int(cell.sum()) == 256
    assert share_within(slope[0].abs().sum(0), cell) == 1.0
    assert {"stages.0", "stages.1"} <= set(scored.layers)
    alone = classifier_score(classifier(), "kind").score(pixels[:, :, 16:, 16:], 1)
    torch.testing.assert_close(scored.score(pixels, 1), alone)


def test_gradients_by_place_stay_in_the_cell_and_grad_cams_mean_gradients_do_not():
    pixels = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))
    cell = PictureGrid(pixels, (0, 1, 2, 0)).cell(0)
    shares = {
        method.name: share_within(method.map_of(split(0), pixels, 1, "a").map, cell)
        for method in (InputGradient(), LayerCAM(), GradCAM())
    }
    assert shares["input-gradient"] == 1.0
    assert shares["layer-cam"] > 0.85  # bilinear enlargement crosses the border
    assert shares["grad-cam"] < 0.6


def scored_as(truth, sure):
    """A network that is sure of these classes, by the places of its pictures."""
    logits = torch.zeros(len(truth), 5)
    logits[range(len(truth)), truth] = torch.tensor([9.0 if one else 0.0 for one in sure])
    scored = classifier_score(classifier(), "kind", side=16)
    scored = type(scored)(scored.network, "kind", tuple("abcde"), 16)
    object.__setattr__(scored, "logits", lambda pixels: logits)
    return scored


def parts_of(grids, images):
    """Places of the pictures of grids, in the order of their cells."""
    cells = [grid.pixels[:, grid.cell(k)].view(3, 16, 16) for grid in grids for k in range(4)]
    return [next(i for i in range(len(images)) if torch.equal(images.pixels[i], part)) for part in cells]


def test_grids_have_four_classes_and_each_picture_once():
    images, truth = pictures(9), [0, 1, 2, 3, 0, 1, 2, 3, 4]
    scored = scored_as(truth, [True] * 8 + [False])
    grids = picture_grids(scored, images, truth, 5, seed=1)
    assert [sorted(one.targets) for one in grids] == [[0, 1, 2, 3]] * 2
    used = parts_of(grids, images)
    assert sorted(used) == list(range(8))
    assert [truth[i] for i in used] == [one for grid in grids for one in grid.targets]


def test_repeated_grids_have_one_class_in_opposite_corners_and_pictures_last():
    images, truth = pictures(9), [0, 0, 0, 0, 0, 1, 1, 2, 2]
    grids = picture_grids(scored_as(truth, [True] * 9), images, truth, 5, seed=1, repeated=True)
    assert [one.targets[0] == one.targets[3] == 0 for one in grids] == [True, True]
    assert [sorted(one.targets[1:3]) for one in grids] == [[1, 2]] * 2
    assert len(set(parts_of(grids, images))) == 8
    assert picture_grids(scored_as(truth, [True] * 9), images, truth, 5, seed=1) == []
