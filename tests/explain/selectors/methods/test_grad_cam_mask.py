"""Masks of the highest Grad-CAM: their area, and their places."""

import torch

import feature_scenes
from intaglio.explain.selectors.methods.grad_cam_mask import GradCamMask
from intaglio.explain.selectors.shown_pixels import highest_share

SMALL = {"epochs": 1, "rows": 6, "widths": (4,)}
BAD = {"area": 0.0}
PIECES = {"batch": 1}


def test_the_highest_places_are_shown_and_exactly_as_many_as_asked_for():
    heat = torch.tensor([[[0.1, 0.9], [0.9, 0.3]], [[1.0, 1.0], [1.0, 1.0]]])
    assert highest_share(heat, 0.5).tolist() == [[[0, 1], [1, 0]], [[1, 1], [0, 0]]]
    assert highest_share(heat, 0.75)[0].tolist() == [[0, 1], [1, 1]]


def test_the_plain_classifier_is_its_own_predictor():
    images, labels = feature_scenes.labelled()
    found = GradCamMask(area=0.25, **SMALL)(images, "light", labels["light"])
    assert found.taught.predictor is found.plain
    assert found.result.areas.tolist() == [0.25] * len(found.result.names)
    assert set(found.result.masks.flatten().tolist()) == {0, 255}
    assert found.result.predicted.tolist() == found.result.seen.tolist()
