import torch

import feature_scenes
import tiny
from intaglio.explain.features.feature_cells import ProbedNetworks
from intaglio.explain.features.methods.latents import LatentProbe
from intaglio.models.diffusion.loading import load_model

SMALL = {"folds": 3, "strengths": (0.1,), "shuffles": 2, "batch": 8}
BAD = {"side": 0}
PIECES = {"batch": 4}


def test_features_are_means_of_the_latents_over_a_grid(tmp_path):
    model = load_model(tiny.sd_folder(tmp_path / "base"))
    images, _ = feature_scenes.labelled(3)
    (rows,) = LatentProbe(side=4).read(ProbedNetworks(model=model), images).values.values()
    with torch.no_grad():
        latents = model.encode(images.pixels)
    expected = latents.reshape(3, -1, 4, 2, 4, 2).mean((3, 5)).flatten(1)
    torch.testing.assert_close(rows, expected, atol=1e-6, rtol=1e-5)
