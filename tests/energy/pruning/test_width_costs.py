"""Costs of hidden widths: they add up to those of the whole network, and fall where layers get smaller."""

from functools import cache

import pytest
import torch

import tiny
from intaglio.energy.methods.thor import Thor
from intaglio.energy.pruning import width_costs
from intaglio.energy.pruning.call_budget import CallBudget
from intaglio.energy.pruning.chosen_widths import chosen_widths, pruned
from intaglio.energy.pruning.width_costs import LEVELS, levels_of, width_steps
from intaglio.energy.workloads import denoiser_step
from intaglio.errors import BadInput
from intaglio.models.diffusion.hidden_widths import hidden_widths
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from planted_profile import planted_profile


@cache
def model():
    pipeline = tiny.sd_pipeline(unet_changes={"attention_head_dim": 4})
    return LatentDiffusion(
        denoiser=pipeline.unet,
        autoencoder=pipeline.vae,
        text_encoders=[pipeline.text_encoder],
        tokenizers=[pipeline.tokenizer],
        scheduler=dict(pipeline.scheduler.config),
        name="tiny",
    )


@cache
def steps(train=False):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(width_costs, "LEVELS", 6)
        return width_steps(model(), 2, least=0.5, train=train)


PER_PASS = 5e-6
"""What each pass of a layer costs beside the layer's own, in CPU-s."""


@cache
def predictor():
    """By which a call costs 1.25 ns an operation or byte, and something for each pass of a layer."""
    found = steps()
    parts = [step for each in found.steps.values() for step in each]
    levels = range(max(map(len, found.units.values())))
    whole = [found.whole({scope: min(k, len(units) - 1) for scope, units in found.units.items()}) for k in levels]
    whole += [found.whole({scope: len(found.units[scope]) - 1}) for scope in list(found.units)[:8]]
    cost = {"factor": 1.25, "per_pass": PER_PASS, "networks": len(whole)}
    return Thor()(planted_profile([*whole, *parts, found.rest], lambda layer: 1e-9 * layer.work, **cost))


def importances():
    draw = torch.Generator().manual_seed(0)
    return {
        scope: torch.rand(one.units, generator=draw, dtype=torch.float64)
        for scope, one in hidden_widths(model().denoiser).items()
    }


@pytest.mark.parametrize("train", [False, True])
def test_the_parts_are_the_whole_call(train):
    network = model().denoiser.requires_grad_(train)
    whole = denoiser_step(model(), 2, train=train)
    network.requires_grad_(False)
    assert dict(steps(train).whole({}).layers) == dict(whole.layers)


def test_a_level_is_the_call_of_a_narrowed_model():
    found = steps()
    levels = {scope: min(place % 3, len(units) - 1) for place, (scope, units) in enumerate(found.units.items())}
    kept = {scope: tuple(range(found.units[scope][level])) for scope, level in levels.items()}
    slim = pruned(model(), kept)
    assert dict(denoiser_step(slim, 2).layers) == dict(found.whole(levels).layers)


def test_a_pruned_model_can_be_pruned_again(monkeypatch):
    monkeypatch.setattr(width_costs, "LEVELS", 3)
    once = pruned(model(), {scope: range(units[-1]) for scope, units in steps().units.items()})
    found = width_steps(once, 2, least=0.5)
    assert dict(found.whole({}).layers) == dict(denoiser_step(once, 2).layers)
    assert all(units[0] == steps().units[scope][-1] for scope, units in found.units.items())
    twice = pruned(once, {scope: range(units[-1]) for scope, units in found.units.items()})
    lowest = {scope: len(units) - 1 for scope, units in found.units.items()}
    assert dict(denoiser_step(twice, 2).layers) == dict(found.whole(lowest).layers)


def test_costs_of_scopes_and_of_the_rest_are_the_whole_cost():
    found, predict = steps(), predictor()
    costs = found.costs(lambda step: predict(step).amount)
    total = sum(each[0] for each in costs.values()) + predict(found.rest).amount
    whole = predict(denoiser_step(model(), 2))
    assert whole.coverage > 0.99
    assert total == pytest.approx(whole.amount, rel=1e-9)
    assert all(each == tuple(sorted(each, reverse=True)) for each in costs.values())
    call = denoiser_step(model(), 2)
    planted = 1.25e-9 * sum(calls * layer.work for layer, calls in call.layers.items()) + PER_PASS * call.passes
    assert whole.amount == pytest.approx(planted, rel=0.05)


def test_levels_fall_by_a_power_of_two_to_the_least_share():
    assert levels_of(8, 0.125) == (8, 7, 6, 5, 4, 3, 2, 1)
    assert levels_of(8, 0.5) == (8, 7, 6, 5, 4)
    assert levels_of(1, 0.125) == (1,)
    assert levels_of(7, 1.0) == (7,)
    assert levels_of(1280, 0.9) == (1280, 1216, 1152)
    for units in (31, 32, 33, 320, 2560, 5120):
        found = levels_of(units, 1e-9)
        assert len(found) <= LEVELS
        assert found[-1] <= units / 8
        assert found == tuple(sorted(set(found), reverse=True))


@pytest.mark.parametrize("by", ["energy", "flops", "parameters"])
def test_the_upper_bound_keeps_the_budget_and_the_best_units_stay(by):
    known = importances()
    found = chosen_widths(steps(), known, predictor(), CallBudget(0.7), by)
    assert found.after.interval[1] <= 0.7 * found.before.interval[1]
    assert 0.6 < found.ratio <= 0.7
    slim = pruned(model(), found.kept)
    assert predictor()(denoiser_step(slim, 2)).amount == pytest.approx(found.after.amount, rel=1e-9)
    for scope, kept in found.kept.items():
        gone = [unit for unit in range(found.units[scope]) if unit not in kept]
        assert not gone or known[scope][gone].max() <= known[scope][list(kept)].min()


def test_a_budget_out_of_reach_names_the_least():
    words = r"still takes .* of now, and at most .* of now; the budget is at most .*: give [\d.]+% or more"
    with pytest.raises(BadInput, match=words):
        chosen_widths(steps(), importances(), predictor(), CallBudget(0.01), "energy")
