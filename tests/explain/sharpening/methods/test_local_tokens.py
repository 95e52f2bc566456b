"""A generator that is shown maps: they are the encoder's coarsest, and of the same pictures."""

import torch

from intaglio.explain.sharpening.methods.genhancer import GenHancer
from intaglio.explain.sharpening.methods.local_tokens import LocalTokens
from intaglio.explain.sharpening.weak_generator import WeakGenerator
from sharpening_scenes import SMALL as SCENE
from sharpening_scenes import blind_encoder, blue_pictures

SMALL = {"generator_steps": 4, "encoder_steps": 3, "rows": 8, "width": 8, "copies": 1, "held": 0.3}
BAD = {"encoder_steps": 0}
PIECES = {}


def test_the_generator_is_shown_the_coarsest_maps_in_both_stages_and_genhancers_none(monkeypatch):
    images, latents, _ = blue_pictures(30)
    encoder, real, given = blind_encoder(), WeakGenerator.forward, []

    def spying(self, noisy, times, descriptors, maps=None):
        given.append((descriptors.detach(), maps, torch.is_grad_enabled()))
        return real(self, noisy, times, descriptors, maps)

    monkeypatch.setattr(WeakGenerator, "forward", spying)
    LocalTokens(**SCENE)(encoder, images, latents)
    steps = SCENE["generator_steps"] + SCENE["encoder_steps"]
    taught = [one for one in given if one[2]]
    assert len(taught) == steps
    old = encoder(images.pixels)
    coarse = encoder.maps(images.pixels)[1]
    for descriptors, maps, _ in taught[: SCENE["generator_steps"]]:
        places = torch.cdist(descriptors, old).argmin(1)
        torch.testing.assert_close(maps, coarse[places])
    assert all(maps.requires_grad for _, maps, _ in taught[SCENE["generator_steps"] :])
    given.clear()
    GenHancer(**SCENE)(encoder, images, latents)
    assert all(maps is None for _, maps, _ in given)
