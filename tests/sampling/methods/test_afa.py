from dataclasses import replace

import pytest
import torch

import tiny
from intaglio.errors import BadInput
from intaglio.models.diffusion.loading import load_model
from intaglio.sampling.calls import Calls
from intaglio.sampling.family import SamplingRequest
from intaglio.sampling.loop import sample
from intaglio.sampling.methods.afa import Afa
from intaglio.sampling.several_networks import read_others, routers_of
from intaglio.sampling.trained_part import TrainedPart

SMALL = {"part": "afa.safetensors", "others": ("another",)}
BAD = {"others": ("one", "one")}
PIECES = {}
LINEAR = ("conv_in", "down_blocks.1.resnets.0.conv2", "conv_out")
"""Layers by which a merged feature ends: the mean of outputs is the output of the mean of weights."""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A model, a fine-tune of these layers, and their mean."""
    root = tmp_path_factory.mktemp("models")
    base = load_model(tiny.sd_folder(root / "base"))
    tuned, mean, source = base.copy(), base.copy(), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name in LINEAR:
            for key, weight in base.denoiser.get_submodule(name).named_parameters():
                noise = 0.2 * torch.randn(weight.shape, generator=source)
                getattr(tuned.denoiser.get_submodule(name), key).add_(noise)
                getattr(mean.denoiser.get_submodule(name), key).add_(noise / 2)
    tuned.save(root / "tuned")
    mean.save(root / "mean")
    tiny.fine_tune_folder(root / "base", root / "third")
    return root


@pytest.fixture(scope="module")
def model(root):
    return load_model(root / "base")


@pytest.fixture(scope="module")
def networks(root, model):
    return (model, *read_others(model, [root / "tuned"]))


@pytest.fixture(scope="module")
def method(root, networks):
    """Merges by even weights; it reads the other model once for all tests."""
    return Afa(part=part_of(root, networks), others=(root / "tuned",))


def part_of(root, networks, name="even", stir=0.0):
    """A part whose routers give each model the same weight; with some noise on the last layers, they do not."""
    weights, source = routers_of(networks, 8, 0).state_dict(), torch.Generator().manual_seed(2)
    for key, value in weights.items():
        if ".last." in key:
            value.copy_(stir * torch.randn(value.shape, generator=source))
    settings = {"width": 8, "seed": 0, "others": ["tuned"], "networks": [one.fingerprint for one in networks]}
    TrainedPart("afa", networks[0].fingerprint, settings, weights, {}).save(root / f"{name}.safetensors")
    return root / f"{name}.safetensors"


def drawn(model, method=None, **options):
    return sample(model, ["dog", "red cat"], [1, 2], steps=4, method=method, **options).pixels


@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_even_weights_draw_what_the_mean_of_the_models_last_layers_draws(root, model, method, scale):
    calls = Calls()
    found = drawn(model, method, guidance_scale=scale, calls=calls)
    wanted = drawn(load_model(root / "mean"), guidance_scale=scale)
    assert (wanted - drawn(model, guidance_scale=scale)).abs().max() > 0.02
    assert torch.allclose(found, wanted, atol=1e-4)
    assert calls == Calls(forward=2 * 2 * 4 * (1 if scale == 1 else 2))


def test_the_routers_of_the_part_tell_what_is_drawn(root, model, networks, method):
    stirred = replace(method, part=part_of(root, networks, "other", 2.0))
    even, other = (drawn(model, one, guidance_scale=1.0) for one in (method, stirred))
    assert (even - other).abs().max() > 1e-3


def test_others_are_read_once_and_left_as_they_were(root, model, networks, method):
    found, before = method.networks(model), networks[1].denoiser.state_dict()  # read apart, and drawn with by no one
    drawn(model, method, batch=1, guidance_scale=1.0)
    assert method.networks(model)[1] is found[1]
    assert all(torch.equal(before[key], value) for key, value in found[1].denoiser.state_dict().items())
    assert not any("forward" in vars(one.denoiser) for one in found)
    assert replace(method, others=(root / "third",)).networks(model)[1] is not found[1]


def test_others_must_be_those_of_the_training(root, model, method):
    request = SamplingRequest(model, ["dog"], "", 5.0, 3, 3)
    method.check(request)
    for others in ((root / "third",), (root / "tuned", root / "third")):
        with pytest.raises(BadInput, match=r"are not those that .* was trained with.*give those \(tuned\)"):
            replace(method, others=others).check(request)
    with pytest.raises(BadInput, match="give --others"):
        replace(method, others=()).check(request)
