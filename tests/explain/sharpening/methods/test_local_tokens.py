"""A generator that is shown maps: drawing is easier than from the descriptor alone."""

import torch

from intaglio.explain.sharpening.methods.genhancer import GenHancer
from intaglio.explain.sharpening.methods.local_tokens import LocalTokens
from intaglio.images.image_set import ImageSet
from intaglio.metrics.similarity.encoder import Encoder
from sharpening_scenes import SMALL as SCENE

SMALL = {**SCENE}
BAD = {"encoder_steps": 0}
PIECES = {}


def test_drawing_is_easier_with_maps():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = Encoder((4, 6, 8), dim=4, size=32).eval().requires_grad_(False)
    coarse = torch.rand(80, 3, 2, 2, generator=torch.Generator().manual_seed(0)).round()
    pixels = torch.nn.functional.interpolate(coarse, (32, 32), mode="nearest")
    images = ImageSet.from_pixels(pixels, [f"p{k}" for k in range(80)])
    about = {**SCENE, "generator_steps": 80, "encoder_steps": 1, "generator_rate": 1e-2, "rows": 16}
    latents = torch.nn.functional.interpolate(coarse, (4, 4), mode="nearest")
    shown = LocalTokens(**about)(encoder, images, latents)
    blind = GenHancer(**about)(encoder, images, latents)
    assert shown.loss_before.mean() < 0.9 * blind.loss_before.mean()
    assert shown.loss_mistaken.mean() > shown.loss_after.mean()
