"""Importance of hidden units, against the gradients of the weights, and against the error after a unit is removed."""

import pytest
import torch

import tiny
from intaglio.denoising.picture_samples import picture_samples
from intaglio.energy.pruning.importance import unit_importances
from intaglio.models.diffusion.hidden_widths import hidden_widths
from intaglio.models.diffusion.loading import load_model

PROMPTS = ["a red cat", "a dog", "a red cat"]


@pytest.fixture(scope="module", params=["sd", "sdxl"])
def scene(request, tmp_path_factory):
    make = {"sd": tiny.sd_folder, "sdxl": tiny.sdxl_folder}[request.param]
    model = load_model(make(tmp_path_factory.mktemp("model"), unet_changes={"attention_head_dim": 4}))
    return model, picture_samples(model, tiny.pixels(3), PROMPTS, draws=2, seed=0)


def one_by_one(model, samples):
    """(dL/dg)² of every sample as (sum of weight · gradient over the consumer's columns)², without any gate."""
    found = {scope: [] for scope in hidden_widths(model.denoiser)}
    for picture, prompt in enumerate(PROMPTS):
        for draw in range(2):
            model.denoiser.zero_grad(set_to_none=True)
            noise, t = samples.noise[:, draw], samples.timesteps[:, draw]
            model.error(samples.latents[picture : picture + 1], noise, t, model.embed([prompt])).sum().backward()
            for scope, one in hidden_widths(model.denoiser).items():
                weight = model.denoiser.get_submodule(f"{scope}.{one.consumer}").weight
                columns = (weight * weight.grad).transpose(0, 1).flatten(1).sum(1).double()
                found[scope].append(columns.view(one.units, one.unit).sum(1) ** 2)
    return {scope: torch.stack(each).mean(0) for scope, each in found.items()}


def test_importance_is_the_mean_squared_product_of_weights_and_gradients(scene):
    model, samples = scene
    wanted, found = one_by_one(model, samples), unit_importances(model, samples, 4)
    assert set(found) == set(wanted)
    for scope, importance in found.items():
        torch.testing.assert_close(importance, wanted[scope].detach(), rtol=1e-3, atol=1e-12)
        assert (importance >= 0).all()


def test_pieces_change_rounding_alone_and_the_model_is_left_as_found(scene):
    model, samples = scene
    before = model.fingerprint
    flags = [weight.requires_grad for weight in model.denoiser.parameters()]
    one, many = unit_importances(model, samples, 1), unit_importances(model, samples, 6)
    for scope in one:
        torch.testing.assert_close(one[scope], many[scope], rtol=1e-3, atol=1e-12)
    assert model.fingerprint == before
    assert [weight.requires_grad for weight in model.denoiser.parameters()] == flags
    assert not any(module._forward_pre_hooks for module in model.denoiser.modules())


def test_a_unit_that_nothing_takes_has_no_importance(scene):
    model, samples = scene[0].copy(), scene[1]
    scope, one = next(iter(hidden_widths(model.denoiser).items()))
    with torch.no_grad():
        model.denoiser.get_submodule(f"{scope}.{one.consumer}").weight[:, one.unit : 2 * one.unit] = 0
    importance = unit_importances(model, samples, 6)[scope]
    assert importance[1] == 0
    assert (importance[[0, 2, 3]] > 0).all()


def test_errors_are_those_of_each_picture_on_its_own(scene):
    model, samples = scene
    found = samples.errors(model, 4)
    for picture, prompt in enumerate(PROMPTS):
        with torch.no_grad():
            each = [
                model.error(
                    samples.latents[picture : picture + 1],
                    samples.noise[:, draw],
                    samples.timesteps[:, draw],
                    model.embed([prompt]),
                )
                for draw in range(2)
            ]
        torch.testing.assert_close(found[picture], torch.cat(each).mean(), rtol=1e-4, atol=0)
    assert int(samples.timesteps[0, 0]) < 500 <= int(samples.timesteps[0, 1])
