import torch

import attribute_scenes
from intaglio.explain.counterfactuals.made_pictures import made
from intaglio.explain.counterfactuals.methods.without_graph import WithoutGraph

SMALL = {"updates": 4, "rows": 4, "channels": 8, "steps": 2, "batch": 8}
BAD = {"steps": 0}
PIECES = {"batch": 4}


def test_labels_are_the_code_and_what_is_set_changes_alone():
    images, table = attribute_scenes.squares()
    model = WithoutGraph(channels=8, steps=2).begun(attribute_scenes.GRAPH, 16)
    labels = table.scaled(table.values)
    found = made(model, images.pixels, labels, {0: torch.full((12,), 0.3)})
    assert torch.equal(found.before, labels)
    assert torch.equal(found.after[:, 1], labels[:, 1])
    assert found.after[:, 0].tolist() == [torch.tensor(0.3).item()] * 12
    (loss,) = model.losses(2 * images.pixels - 1, labels, 0.5, torch.Generator().manual_seed(0)).values()
    assert loss > 0


def test_nothing_set_draws_the_same_picture():
    images, table = attribute_scenes.squares()
    model = WithoutGraph(channels=8, steps=2).begun(attribute_scenes.GRAPH, 16)
    found = made(model, images.pixels, table.scaled(table.values), {})
    assert torch.equal(found.pixels["before"], found.pixels["after"])
    assert torch.equal(found.pixels["original"], images.pixels)
