import copy

import pytest
import torch

import tiny
from intaglio.errors import BadInput
from intaglio.models.diffusion.loading import load_model
from intaglio.models.diffusion.unet_lockstep import UNetLockstep, mean_of, place_channels

THREE_LEVELS = {
    "block_out_channels": (8, 16, 12),
    "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    deep = tiny.sd_folder(root / "deep", unet_changes=THREE_LEVELS)
    found = {"sd": tiny.sd_folder(root / "sd"), "sdxl": tiny.sdxl_folder(root / "sdxl"), "deep": deep}
    return {name: load_model(folder) for name, folder in found.items()}


def given(model, side=8):
    latents = torch.randn(2, 4, side, side, generator=torch.Generator().manual_seed(0))
    return latents, torch.tensor([3, 700]), model.embed(["red cat", "dog"])


@torch.no_grad()
def told(model, networks, merge, side=8):
    with UNetLockstep(networks, merge).leading():
        return model.predict(*given(model, side))


def last_layers(unet):
    """Name of the linear layer by which each merged feature ends, written out by the places of the source."""
    names = ["conv_in"]
    for k, block in enumerate(unet.down_blocks):
        end = "attentions.{}.proj_out" if hasattr(block, "attentions") else "resnets.{}.conv2"
        names += [f"down_blocks.{k}.{end.format(i)}" for i in range(len(block.resnets))]
        names += [f"down_blocks.{k}.downsamplers.0.conv"] if block.downsamplers else []
    names.append("mid_block.resnets.1.conv2")
    for k, block in enumerate(unet.up_blocks):
        end = "attentions.{}.proj_out" if hasattr(block, "attentions") else "resnets.{}.conv2"
        names += [f"up_blocks.{k}.{end.format(i)}" for i in range(len(block.resnets))]
    return [*names, "conv_out"]


def stirred(unet, seed):
    """A network with noise on these layers alone."""
    twin, source = copy.deepcopy(unet), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name in last_layers(twin):
            for weight in twin.get_submodule(name).parameters():
                weight.add_(0.1 * torch.randn(weight.shape, generator=source))
    return twin


@pytest.mark.parametrize("side", [8, 9, 11])
@pytest.mark.parametrize("kind", ["sd", "sdxl", "deep"])
def test_one_network_is_its_own_forward_bit_for_bit(models, kind, side):
    model = models[kind]
    with torch.no_grad():
        alone = model.predict(*given(model, side))
    assert torch.equal(told(model, [model.denoiser], mean_of, side), alone)


@pytest.mark.parametrize("kind", ["sd", "sdxl", "deep"])
def test_networks_that_differ_in_the_layer_before_each_merge_are_one_with_its_weighted_mean(models, kind):
    """All of them have the same input to that layer, so that merged outputs are outputs of merged weights."""
    model, shares = models[kind], torch.tensor([0.5, 0.2, 0.3])
    networks = [model.denoiser, stirred(model.denoiser, 1), stirred(model.denoiser, 2)]
    one = copy.copy(model)
    one.denoiser = copy.deepcopy(model.denoiser)
    with torch.no_grad():
        for name in last_layers(model.denoiser):
            layers = [dict(network.get_submodule(name).named_parameters()) for network in networks]
            for key, weight in one.denoiser.get_submodule(name).named_parameters():
                weight.copy_(sum(share * layer[key] for share, layer in zip(shares, layers, strict=True)))
        alone, wanted = model.predict(*given(model)), one.predict(*given(model))
    found = told(model, networks, lambda place, features, t, text: torch.einsum("bnchw,n->bchw", features, shares))
    assert (wanted - alone).abs().max() > 0.01
    assert torch.allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("kind", ["sd", "sdxl", "deep"])
def test_the_places_are_those_of_the_source_with_their_channels(models, kind):
    seen, model = [], models[kind]

    def watching(place, features, t, text):
        seen.append((place, features.shape[:3]))
        return features.mean(1)

    told(model, [model.denoiser] * 2, watching)
    unet = model.denoiser
    channels = [unet.get_submodule(name).weight.shape[0] for name in last_layers(unet)]
    assert seen == [(place, (2, 2, count)) for place, count in enumerate(channels)]
    assert place_channels(unet) == channels


def test_the_first_network_is_itself_again_after_an_error(models):
    model = models["sd"]
    with pytest.raises(RuntimeError, match="as planned"), UNetLockstep([model.denoiser], mean_of).leading():
        raise RuntimeError("as planned")
    assert "forward" not in vars(model.denoiser)


def test_blocks_of_another_layout_are_refused():
    plain = {"down_block_types": ("AttnDownBlock2D", "DownBlock2D"), "up_block_types": ("UpBlock2D", "AttnUpBlock2D")}
    with pytest.raises(BadInput, match="AttnDownBlock2D cannot run in lock-step"):
        UNetLockstep([tiny.unet(**plain)], mean_of)
    with pytest.raises(ValueError, match="return_dict"):
        UNetLockstep([tiny.unet()], mean_of)(
            torch.zeros(1, 4, 8, 8), torch.tensor([1]), torch.zeros(1, 2, 16), return_dict=True
        )
