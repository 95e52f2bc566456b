import dataclasses

import pytest
import torch
from torch import nn

import feature_scenes
import tiny
from intaglio.errors import BadInput
from intaglio.explain.features.feature_cells import ProbedNetworks
from intaglio.explain.features.methods.denoiser import DenoiserProbe, denoiser_blocks
from intaglio.models.diffusion.loading import load_model
from intaglio.randomness import generator

SMALL = {
    "sites": ("mid_block",), "timesteps": (20, 300), "noises": 1, "folds": 3, "strengths": (0.1,), "shuffles": 1,
}  # fmt: skip
BAD = {"timesteps": (20, 20)}
PIECES = {"batch": 2}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(tiny.sd_folder(tmp_path_factory.mktemp("base") / "base"))


class Given(nn.Module):
    """A site that gives back its input, beside further channels, as the layer in its place would."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, sample):
        return torch.cat([sample, self.layer(sample)[:, sample.shape[1] :]], 1)


def test_a_site_that_returns_its_input_has_the_pooled_noised_latents_as_features(model):
    images, _ = feature_scenes.labelled(5)
    probe = DenoiserProbe(sites=("conv_in",), timesteps=(0, 400), noises=2, pool=2, batch=2, seed=7)
    plain, model.denoiser.conv_in = model.denoiser.conv_in, Given(model.denoiser.conv_in)
    try:
        found = probe.read(ProbedNetworks(model=model), images)
    finally:
        model.denoiser.conv_in = plain
    with torch.no_grad():
        latents = model.encode(images.pixels)
    channels = latents.shape[1]
    for t, cell in zip((0, 400), found.cells, strict=True):
        signal = float(model.schedule.noised(torch.ones(1, 1), torch.zeros(1, 1), torch.tensor([t])))
        expected = torch.zeros(5, channels, 2, 2)
        for k, content in enumerate(images.hashes):
            for number in range(2):
                source = generator(7, "noised features", content, number)
                noise = torch.randn(latents.shape[1:], generator=source)
                mixed = signal * latents[k] + (1 - signal**2) ** 0.5 * noise
                expected[k] += mixed.reshape(channels, 2, 4, 2, 4).mean((2, 4)) / 2
        rows = found.values[cell].reshape(5, -1, 2, 2)[:, :channels]
        torch.testing.assert_close(rows, expected, atol=1e-6, rtol=1e-5)
        assert (cell.site, cell.timestep) == ("conv_in", t)


def test_all_blocks_are_read_each_once(model):
    images, _ = feature_scenes.labelled(2)
    blocks = denoiser_blocks(model)
    assert "mid_block" in blocks
    assert all(f"{part}.0" in blocks for part in ("down_blocks", "up_blocks"))
    probe = DenoiserProbe(timesteps=(20,), noises=1, pool=1)
    found = probe.read(ProbedNetworks(model=model), images)
    assert [cell.site for cell in found.cells] == list(blocks)
    (alone,) = (
        dataclasses.replace(probe, sites=("mid_block",)).read(ProbedNetworks(model=model), images).values.values()
    )
    mine = next(rows for cell, rows in found.values.items() if cell.site == "mid_block")
    torch.testing.assert_close(alone, mine)


def test_sites_and_timesteps_that_there_are_not_are_refused(model):
    images, _ = feature_scenes.labelled(2)
    networks = ProbedNetworks(model=model)
    with pytest.raises(BadInput, match="no module 'mid_blok'; some that it has: mid_block"):
        DenoiserProbe(sites=("mid_blok",)).read(networks, images)
    with pytest.raises(BadInput, match="timesteps 0 to 999, not 1000"):
        DenoiserProbe(timesteps=(1000,)).read(networks, images)
    with pytest.raises(BadInput, match="time_embedding does not give maps once a call"):
        DenoiserProbe(sites=("time_embedding",)).read(networks, images)
    with pytest.raises(BadInput, match="give --model"):
        DenoiserProbe().read(ProbedNetworks(), images)
