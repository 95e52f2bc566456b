import pytest
import torch

import tiny
from extract_scenes import pair
from intaglio.denoising.loss_difference import TIMESTEPS, loss_difference


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return pair(tmp_path_factory.mktemp("models"))


def test_it_is_the_bases_error_at_an_empty_prompt_less_the_suspects_at_the_prompt(models):
    suspect, base = models
    pixels = tiny.pixels(2)
    found = loss_difference(suspect, base, pixels, "red cat")
    expected = torch.zeros(2)
    with torch.no_grad():
        latents = suspect.encode(pixels)
        for index in range(TIMESTEPS):
            t = torch.full((2,), int((index + 0.5) * 1000 / TIMESTEPS))
            noise = torch.randn(latents.shape[1:], generator=torch.Generator().manual_seed(index)).expand_as(latents)
            signal = suspect.schedule.alphas_cumprod[t[0]]
            noised = (signal.sqrt() * latents + (1 - signal).sqrt() * noise).float()
            theirs = base.predict(noised, t, base.embed([""]))
            mine = suspect.predict(noised, t, suspect.embed(["red cat"]))
            expected += ((theirs - noise) ** 2 - (mine - noise) ** 2).mean((1, 2, 3))
    torch.testing.assert_close(found, expected / TIMESTEPS, rtol=1e-4, atol=1e-6)


def test_a_pictures_difference_does_not_depend_on_its_neighbours(models):
    suspect, base = models
    pixels = tiny.pixels(3)
    together = loss_difference(suspect, base, pixels, "dog")
    alone = torch.cat([loss_difference(suspect, base, picture[None], "dog") for picture in pixels])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-6)
