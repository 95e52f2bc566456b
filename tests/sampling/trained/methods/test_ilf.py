import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

import tiny
from exact_draws import ExactMixture
from intaglio.errors import BadInput
from intaglio.models.diffusion.loading import load_model
from intaglio.runs.run import Run
from intaglio.sampling.calls import Calls
from intaglio.sampling.grid import level_at, timestep_grid
from intaglio.sampling.inner_feedback import InnerLoop
from intaglio.sampling.step import ddim_step
from intaglio.sampling.trained.methods.ilf import JUDGED, InnerLoopTraining, _Pairs, _trained
from intaglio.sampling.trained.own_latents import own_latents

SMALL = {"pictures": 2, "steps": 3, "updates": 3, "examples": 2, "batch": 2, "learning_rate": 1e-4}
BAD = {"dropped": 2.0}
PIECES = {"batch": 1}
VARIANTS = {"down": {"SMALL": {"reenter": "down"}, "BAD": {"lowest": 0}, "PIECES": {"batch": 1}}}

PROMPTS = ["red cat", "dog"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    found = load_model(tiny.sd_folder(tmp_path_factory.mktemp("model")))
    with found.frozen():
        yield found


def pairs_of(model, **changes):
    settings = InnerLoopTraining(**{**SMALL, "examples": 6, "batch": 6, **changes})
    clean = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    loop = InnerLoop.of(model, settings.lowest, settings.reenter)
    return _Pairs(settings, loop, clean, model.embed([*PROMPTS, ""]).detach())


def test_the_loss_at_gamma_0_is_that_of_an_output_on_the_features_of_t_at_t_less_r(model):
    """The steps to it written out one example after another, with the denoiser itself held to the features of t."""
    for reenter in ("down", "up"):
        data = pairs_of(model, reenter=reenter)
        rows, t, then, noise, prompts = data._drawn(4)
        unet, ends = model.denoiser, []
        for k in range(len(rows)):
            now, next_ = level_at(model.schedule, int(t[k])), level_at(model.schedule, int(then[k]))
            x, given = (now.signal * data.clean[rows[k]] + now.noise * noise[k])[None], data.given[[int(prompts[k])]]
            kept, watched, held = {}, [], []
            # Latents reach a U-Net by its first convolution alone: what is kept of it is all of the down side.
            watched.append(unet.conv_in.register_forward_hook(lambda m, a, out, kept=kept: kept.update(x=out)))
            blocks = {"first": unet.down_blocks[0].resnets[0], "down": unet.down_blocks[0].downsamplers[0]}
            if reenter == "up":
                blocks["up"] = unet.up_blocks[0].upsamplers[0]
            for name, block in blocks.items():
                watched.append(block.register_forward_hook(lambda m, a, out, n=name, kept=kept: kept.update({n: out})))
            attention = unet.down_blocks[0].attentions[0]
            watched.append(attention.register_forward_hook(lambda m, a, out, kept=kept: kept.update(att=out)))
            found = model.predict(x, t[[k]], given)
            for one in watched:
                one.remove()
            x = ddim_step(x, found, now, next_)
            wanted = model.predict(x, then[[k]], given)
            blocks |= {"x": unet.conv_in, "att": attention}
            for name, block in blocks.items():
                held.append(block.register_forward_hook(lambda m, a, out, n=name, kept=kept: kept[n]))
            ends.append((model.predict(x, then[[k]], given) - wanted).square().mean())
            for one in held:
                one.remove()
        assert torch.allclose(torch.cat(list(data.errors(4, data.loop))), torch.stack(ends), rtol=1e-4, atol=1e-7)
        assert float(torch.stack(ends).mean()) > 1e-4, "a loss that is there"


def test_pairs_are_neighbours_on_the_grid_of_steps_and_an_update_has_its_own(model):
    data = pairs_of(model, steps=5, examples=400)
    grid = [level.t for level in timestep_grid(model.schedule, 5)][:-1]
    rows, t, then, noise, _ = data._drawn(0)
    assert set(zip(t.tolist(), then.tolist(), strict=True)) == set(pairwise(grid))
    assert set(rows.tolist()) == {0, 1, 2}
    assert float(noise.std()) == pytest.approx(1.0, abs=0.02)
    assert not torch.equal(data._drawn(1)[3], noise)
    assert torch.equal(data._drawn(0)[3], noise)


def test_an_example_has_the_prompt_of_its_picture_or_none_by_the_share(model):
    data = pairs_of(model, examples=400, dropped=0.25)
    rows, *_, prompts = data._drawn(0)
    blank = prompts == len(PROMPTS)
    assert torch.equal(prompts[~blank], (rows % len(PROMPTS))[~blank])
    assert float(blank.float().mean()) == pytest.approx(0.25, abs=0.06)
    assert bool((pairs_of(model, dropped=1.0)._drawn(0)[-1] == len(PROMPTS)).all())


@pytest.mark.parametrize("reenter", ["down", "up"])
def test_at_first_the_block_is_the_models_own_and_gamma_alone_has_a_gradient(model, reenter):
    data = pairs_of(model, reenter=reenter)
    ups = model.denoiser.up_blocks
    copied = ups[1].resnets[0] if reenter == "down" else ups[0].resnets[-1]
    own = copied.state_dict()
    assert all(torch.equal(weight, own[name]) for name, weight in data.loop.block.layer.state_dict().items())
    assert (data.loop.block.attention is not None) == (reenter == "down"), "the tiny model's other block has none"
    weights = {name: weight.requires_grad_(True) for name, weight in data.loop.weights.items()}
    data.loss(0)
    assert float(weights["gamma"].grad.abs()) > 0
    assert all(not w.grad.any() for name, w in weights.items() if name != "gamma")
    slope = (loss_at(data, 1e-3) - loss_at(data, -1e-3)) / 2e-3
    assert float(weights["gamma"].grad) == pytest.approx(slope, rel=0.02, abs=1e-7)


def loss_at(data, gamma):
    with torch.no_grad():
        return float(torch.cat(list(data.errors(0, replace(data.loop, gamma=torch.tensor(gamma))))).double().mean())


@pytest.mark.parametrize("reenter", ["down", "up"])
def test_what_is_learnt_is_nearer_to_the_model_than_caching_on_fresh_examples(model, reenter):
    changes = {"examples": 4, "batch": 4, "updates": 15, "learning_rate": 0.05, "steps": 2, "scale": 1.0}
    settings = InnerLoopTraining(**{**SMALL, **changes}, reenter=reenter)
    before = {name: weight.clone() for name, weight in model.denoiser.state_dict().items()}
    facts = settings(model, PROMPTS).facts
    assert facts["error"] < 0.9 * facts["caching_error"]
    assert facts["gamma"] != 0
    assert all(torch.equal(weight, before[name]) for name, weight in model.denoiser.state_dict().items())


def test_the_pictures_are_the_models_own_and_the_judgement_is_of_no_update(model):
    settings = InnerLoopTraining(**SMALL)
    part = settings(model, PROMPTS)
    clean = own_latents(model, PROMPTS, 2, steps=3, scale=5.0, batch=2, seed=0, run=Run.none())
    data = _Pairs(settings, InnerLoop.of(model, 2, "up"), clean, model.embed([*PROMPTS, ""]).detach())
    losses = _trained(settings, data, Run.none())
    assert all(torch.equal(data.loop.weights[name], part.tensor(name)) for name in data.loop.weights)
    with torch.no_grad():
        fresh = torch.cat([e for step in range(3, 3 + JUDGED) for e in data.errors(step, data.loop)]).mean()
    assert part.facts["error"] == pytest.approx(float(fresh), rel=1e-6)
    assert part.facts["loss"] == pytest.approx(float(losses[-1]))
    assert (part.facts["lowest"], part.facts["reenter"]) == (2, "up")


def test_calls_are_those_that_the_network_sees_and_a_part_an_example(model):
    settings, seen = InnerLoopTraining(**SMALL), []
    hook = model.denoiser.register_forward_hook(lambda module, args, out: seen.append(len(args[0])))
    try:
        settings(model, PROMPTS)
    finally:
        hook.remove()
    share = InnerLoop.of(model, 2, "up").thousandths()
    asked = 3 * 2 + 2 * JUDGED * 2
    assert settings.planned(model, [""]) == Calls(forward=sum(seen), backward=3 * 2, thousandths=share * asked)


def test_a_model_that_is_no_unet_is_refused():
    mixture = ExactMixture(torch.zeros(1, 2, 1, 1), torch.ones(1), {"": [0.0]})
    with pytest.raises(BadInput, match="no U-Net of two resolutions"):
        InnerLoopTraining(steps=4)(mixture, [""])


@pytest.mark.parametrize(
    "change",
    [{"pictures": 0}, {"updates": 0}, {"examples": 0}, {"lowest": 0}, {"learning_rate": math.nan}, {"steps": 1}],
)
def test_a_wrong_setting_is_refused_by_its_name(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        InnerLoopTraining(**change)
