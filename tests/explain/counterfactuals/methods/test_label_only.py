import torch

import attribute_scenes
from intaglio.explain.counterfactuals.made_pictures import made
from intaglio.explain.counterfactuals.methods.label_only import LabelOnly

SMALL = {"updates": 6, "rows": 4, "channels": 8, "batch": 8}
BAD = {"channels": 12}
PIECES = {"batch": 4}


def test_pictures_of_one_code_are_one_picture():
    images, table = attribute_scenes.squares()
    model = LabelOnly(channels=8).begun(attribute_scenes.GRAPH, 16)
    changes = {0: torch.full((12,), 0.3), 1: torch.full((12,), 0.6)}
    found = made(model, images.pixels, table.scaled(table.values), changes)
    assert (found.pixels["after"] - found.pixels["after"][:1]).abs().max() < 1e-5
    assert (found.pixels["before"] - found.pixels["before"][:1]).abs().max() > 1e-5


def test_squares_are_learnt_from_their_labels():
    images, table = attribute_scenes.squares(48)
    model = LabelOnly(updates=150, channels=8, learning_rate=5e-3).learnt(images, table, attribute_scenes.GRAPH)
    labels = table.scaled(table.values)
    assert (model.read(2 * images.pixels - 1, labels) - labels).abs().mean() < 0.1
    found = made(model, images.pixels, labels, {})
    assert (found.pixels["before"] - images.pixels).square().mean().sqrt() < 0.15
