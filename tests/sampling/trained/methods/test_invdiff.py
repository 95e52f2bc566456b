import copy
import math
from dataclasses import replace

import pytest
import torch
from torch.nn.modules.module import register_module_forward_hook

import tiny
from intaglio.errors import BadInput
from intaglio.learning.step_randomness import batch_at, noise_at, timesteps_at
from intaglio.models.diffusion.baked_sampling import BakedSampling
from intaglio.models.diffusion.loading import load_model
from intaglio.randomness import generator
from intaglio.runs.run import Run
from intaglio.sampling.calls import Calls
from intaglio.sampling.trained.captioned_latents import CaptionedLatents
from intaglio.sampling.trained.loss_groups import group_risk
from intaglio.sampling.trained.methods.invdiff import TRAINED, InvDiffTraining, loss_timesteps
from intaglio.sampling.trained.mixed_denoiser import MixedDenoiser, learnt_model, stored_weights

SMALL = {"steps": 2, "batch": 3, "groups": 2, "samples": 2, "epochs": 5, "learning_rate": 2e-5}
BAD = {"kappa": 0.0}
PIECES = {"micro_batch": 1}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    found = load_model(tiny.sd_folder(tmp_path_factory.mktemp("tiny") / "sd"))
    found.embed([""])
    return found


def planted(count=6, loud=(), times=6):
    """Latents of unit noise, some of them so many times as large."""
    latents = torch.randn(count, tiny.CHANNELS, 8, 8, generator=torch.Generator().manual_seed(1))
    for place in loud:
        latents[place] *= times
    return CaptionedLatents(latents, tuple(("red cat", "dog")[k % 2] for k in range(count)))


def trainer(**changes):
    return InvDiffTraining(**{**SMALL, "caption_dropout": 0.0, **changes})


def predicting(model, kind):
    """The same networks, taken for another prediction."""
    twin = copy.copy(model)
    twin.schedule = replace(model.schedule, prediction=kind)
    return twin


def test_timesteps_of_the_losses_are_the_middles_of_equal_parts():
    assert loss_timesteps(1000, 4).tolist() == [125, 375, 625, 875]
    assert loss_timesteps(10, 10).tolist() == list(range(10))


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_losses_are_means_over_pairs_against_the_target_of_the_training_not_the_latents(model, kind):
    asked, data = predicting(model, kind), planted(3)
    found = trainer(samples=3, batch=4)._picture_losses(asked, data, Run.none())
    with torch.no_grad():
        for k in range(3):
            errors = []
            for sample, t in enumerate((166, 500, 833)):
                noise = torch.randn(tiny.CHANNELS, 8, 8, generator=generator(0, "losses", k, sample))
                a, s = float(asked.schedule.signals[t]), float(asked.schedule.noises[t])
                x, given = a * data.latents[k] + s * noise, model.embed([data.captions[k]])
                output = model.denoiser(x[None], t, encoder_hidden_states=given.hidden).sample[0]
                wanted = noise if kind == "epsilon" else a * noise - s * data.latents[k]
                errors.append(float((output - wanted).square().mean()))
            assert float(found[k]) == pytest.approx(sum(errors) / 3, rel=1e-4)


def test_what_the_model_has_the_highest_losses_of_becomes_a_group(model):
    data = planted(8, loud=(2, 5))
    part = trainer(samples=4, epochs=400, steps=1)(predicting(model, "v_prediction"), data)
    groups = part.tensors["groups"]
    assert part.tensors["losses"].argsort()[-2:].sort().values.tolist() == [2, 5]
    own = groups[2].argmax()
    assert (groups[:, own] > 0.9).nonzero().flatten().tolist() == [2, 5]
    assert part.facts["smallest_share"] == pytest.approx(0.25, abs=0.02)


def first_update(model, data, method, groups):
    """Risk and gradient in δ at the first update, by the code; δ is a changed copy."""
    learnt = copy.deepcopy(model.denoiser)
    with torch.no_grad():
        for place, weight in enumerate(learnt.parameters()):
            weight += 0.02 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(place))
    mixed = model.made_for(model.sampling, MixedDenoiser(model.denoiser, learnt, method.kappa), "mixed")
    with model.frozen():
        learnt.requires_grad_(True)
        loss = method._loss(mixed, data, groups, 0)
    return learnt, loss, [weight.grad for weight in learnt.parameters()]


@pytest.mark.parametrize("micro_batch", [None, 2])
def test_an_update_is_the_risk_of_the_mixed_noise_written_out(model, micro_batch):
    """Of a set of one batch: whole, and with each error's share of the gradient known before any is taken."""
    data, groups = planted(5, loud=(1,)), torch.rand(5, 3, generator=torch.Generator().manual_seed(3))
    method = trainer(batch=5, kappa=0.7, variance=9.0, micro_batch=micro_batch)
    learnt, loss, gradients = first_update(model, data, method, groups)
    noise, t = noise_at((5, tiny.CHANNELS, 8, 8), 0, 0), timesteps_at(5, 1000, 0, 0)
    rows = batch_at(range(5), 0, 5, 0, TRAINED)
    x = model.noised(data.latents[rows], noise, t)
    given = model.embed([data.captions[row] for row in rows]).detach()
    still, moved = (network(x, t, encoder_hidden_states=given.hidden).sample for network in (model.denoiser, learnt))
    errors = ((0.3 * still.detach() + 0.7 * moved - noise) ** 2).mean((1, 2, 3))
    weights = groups[rows]
    of_groups = (weights * errors[:, None]).sum(0) / weights.sum(0)
    risk = of_groups.mean() + 9.0 * (of_groups - of_groups.mean()).square().mean()
    assert loss.value == pytest.approx(float(risk.detach()), rel=1e-4)
    exact = torch.autograd.grad(risk, list(learnt.parameters()))
    for one, two in zip(gradients, exact, strict=True):
        assert torch.allclose(one, two, rtol=1e-3, atol=1e-5)


def test_it_begins_as_the_model_and_not_at_a_share_of_its_noise(model):
    """The first loss, before any update, is the groups' mean of the model's own errors."""
    data, method = planted(4), trainer(batch=4, variance=0.0, steps=1)
    part = method(model, data)
    rows, noise, t = (
        batch_at(range(4), 0, 4, 0, TRAINED),
        noise_at((4, tiny.CHANNELS, 8, 8), 0, 0),
        timesteps_at(4, 1000, 0, 0),
    )
    with torch.no_grad():
        errors = model.error(data.latents[rows], noise, t, model.embed([data.captions[row] for row in rows]))
    assert part.facts["first_loss"] == pytest.approx(
        float(group_risk(errors, part.tensors["groups"][rows]).mean), rel=1e-4
    )


def test_the_output_is_the_mixture_and_gradients_go_to_the_learnt_network_alone(model):
    learnt = copy.deepcopy(model.denoiser).requires_grad_(True)
    with torch.no_grad():
        learnt.conv_out.bias += 1.0
    fixed = copy.deepcopy(model.denoiser).requires_grad_(True)
    x, t, given = (
        torch.randn(2, tiny.CHANNELS, 8, 8),
        torch.tensor([3, 900]),
        model.embed(["dog", "cat"]).hidden.detach(),
    )
    (found,) = MixedDenoiser(fixed, learnt, 0.25)(x, t, encoder_hidden_states=given, return_dict=False)
    with torch.no_grad():
        assert torch.allclose(found, fixed(x, t, encoder_hidden_states=given).sample + 0.25, atol=1e-5)
    found.sum().backward()
    assert all(weight.grad is None for weight in fixed.parameters())
    assert float(learnt.conv_out.bias.grad[0]) == pytest.approx(0.25 * 2 * 64, rel=1e-5)


def variance_after(model, data, method):
    """Variance over two planted groups of the mixed errors, on draws of no update, after the training."""
    groups = torch.tensor([[1.0, 0.0]] * 4 + [[0.0, 1.0]] * 4)
    learnt = copy.deepcopy(model.denoiser)
    mixed = model.made_for(model.sampling, MixedDenoiser(model.denoiser, learnt, method.kappa), "mixed")
    with model.frozen():
        method._trained(mixed, data, groups, Run.none())
    noise, t = noise_at((40, tiny.CHANNELS, 8, 8), 999, 5), timesteps_at(40, 1000, 999, 5)
    with torch.no_grad():
        rows = torch.arange(40) % 8
        given = model.embed([data.captions[int(row)] for row in rows])
        return float(group_risk(mixed.error(data.latents[rows], noise, t, given), groups[rows]).variance)


def test_the_weight_of_the_variance_brings_the_groups_together(model):
    asked, data = predicting(model, "v_prediction"), planted(8, loud=(4, 5, 6, 7), times=3)
    settings = {"batch": 8, "steps": 7, "learning_rate": 2e-2, "clip": None}
    even = variance_after(asked, data, trainer(variance=5.0, **settings))
    alone = variance_after(asked, data, trainer(variance=0.0, **settings))
    assert even < 0.5 * alone


def test_captions_are_left_out_at_their_share(model):
    seen, embed, method = [], model.embed, trainer(batch=40, caption_dropout=0.5)
    groups = torch.full((6, 2), 0.5)
    model.embed = lambda captions: seen.extend(captions) or embed(captions)
    try:
        with torch.no_grad():
            mixed = model.made_for(
                model.sampling, MixedDenoiser(model.denoiser, copy.deepcopy(model.denoiser), 0.8), "m"
            )
        method._loss(mixed, planted(), groups, 0)
    finally:
        del model.embed
    assert 10 <= seen.count("") <= 30
    assert set(seen) == {"", "red cat", "dog"}


@pytest.mark.parametrize("micro_batch", [None, 2])
def test_calls_are_those_that_the_two_networks_see(model, micro_batch):
    seen, data, method = [], planted(4), trainer(batch=4, micro_batch=micro_batch)

    def note(module, given, output):
        if isinstance(module, type(model.denoiser)):
            seen.append(len(given[0]))

    hook = register_module_forward_hook(note)
    try:
        method(model, data)
    finally:
        hook.remove()
    again = 1 if micro_batch is None else 2
    assert method.planned(model, data) == Calls(forward=4 * 2 + 2 * again * 4 * 2, backward=4 * 2)
    assert sum(seen) == method.planned(model, data).forward


def test_the_part_holds_a_denoiser_the_groups_and_the_pictures_hash(model):
    data = planted()
    part = trainer()(model, data)
    learnt = learnt_model(model, part)
    for name, weight in learnt.denoiser.state_dict().items():
        assert torch.equal(weight, part.tensors[f"delta/{name}"])
    assert not any(weight.requires_grad for weight in learnt.denoiser.parameters())
    assert any(
        not torch.equal(one, two)
        for one, two in zip(learnt.denoiser.parameters(), model.denoiser.parameters(), strict=True)
    )
    assert part.tensors["groups"].shape == (6, 2)
    assert part.settings["pictures"] == data.hash
    assert "prompts" not in part.settings
    with pytest.raises(BadInput, match="train it again"):
        learnt_model(model, replace(part, tensors={"groups": part.tensors["groups"]}))


def test_weights_go_to_a_part_and_back(model):
    assert stored_weights(model.denoiser).keys() == {f"delta/{name}" for name in model.denoiser.state_dict()}


def test_a_set_and_a_model_that_cannot_be_trained_with_are_refused(model):
    with pytest.raises(BadInput, match="two or more"):
        trainer()(model, planted(1))
    with pytest.raises(BadInput, match="float16"):
        trainer()(model.copy().to(dtype=torch.float16), planted())
    with pytest.raises(BadInput, match="its teacher"):
        trainer()(
            model.made_for(BakedSampling((999,), "ddim", "baked", (1.0, 1.0)), model.denoiser, "student"), planted()
        )
    with pytest.raises(BadInput, match="fewer --samples"):
        trainer(samples=1001)(model, planted())


@pytest.mark.parametrize(
    "change",
    [
        {"kappa": 1.1},
        {"kappa": math.nan},
        {"groups": 1},
        {"samples": 0},
        {"epochs": 0},
        {"group_rate": 0.0},
        {"balance": -1.0},
        {"variance": math.inf},
        {"batch": 1},
        {"micro_batch": 0},
        {"caption_dropout": 1.0},
        {"steps": 0},
        {"learning_rate": 0.0},
    ],
)
def test_a_wrong_setting_is_refused_by_its_name(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        InvDiffTraining(**change)
