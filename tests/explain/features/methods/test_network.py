import pytest
import torch

import explain_scenes
import feature_scenes
from intaglio.errors import BadInput
from intaglio.explain.features.feature_cells import ProbedNetworks
from intaglio.explain.features.methods.network import NetworkProbe
from intaglio.metrics.similarity.measures import Embedding

SMALL = {"layers": ("stages.0",), "folds": 3, "strengths": (0.1,), "shuffles": 1, "batch": 8}
BAD = {"strengths": (0.0,)}
PIECES = {"batch": 4}


def test_a_classifiers_layers_are_averaged_over_a_grid_and_its_heads_input_is_as_it_is():
    images, _ = feature_scenes.labelled(3)
    scored = explain_scenes.untrained()
    found = NetworkProbe(pool=2).read(ProbedNetworks(scored=scored), images)
    assert [cell.site for cell in found.cells] == ["stages.0", "stages", "input of the head"]
    first, last, head = found.values.values()
    with torch.no_grad():
        maps = scored.network.stages[0](1 - images.pixels)
        torch.testing.assert_close(first, maps.reshape(3, -1, 2, 4, 2, 4).mean((3, 5)).flatten(1))
        torch.testing.assert_close(head, scored.network.features(images.pixels))
    torch.testing.assert_close(last.reshape(3, -1, 4).mean(2), head)


def test_an_encoder_gives_its_descriptors_and_has_no_layers():
    images, _ = feature_scenes.labelled(3)
    encoder = Embedding("means", "0" * 64, lambda pixels: pixels.mean((2, 3)), torch.device("cpu"))
    (rows,) = NetworkProbe().read(ProbedNetworks(encoder=encoder), images).values.values()
    torch.testing.assert_close(rows, torch.nn.functional.normalize(images.pixels.mean((2, 3)), dim=1))
    with pytest.raises(BadInput, match="descriptors of an encoder have none; give --network"):
        NetworkProbe(layers=("stages.0",)).read(ProbedNetworks(encoder=encoder), images)
