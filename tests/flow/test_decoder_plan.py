"""Plans: what is dealt out, fitted, measured and kept."""

import dataclasses
import itertools
import random

import pytest
import torch

from flow_scenes import inverted_by_hand, latents, unit
from intaglio.errors import BadInput
from intaglio.flow.block.guidance import UNGUIDED, Guidance
from intaglio.flow.calibrate import calibration
from intaglio.flow.calibrate.block_timings import tolerance_for
from intaglio.flow.calibrate.calibration import calibrate
from intaglio.flow.calibrate.error_budget import allocate
from intaglio.flow.methods.auto import AutoDecoder as Auto
from intaglio.flow.methods.sequential import SequentialDecoder as Sequential
from intaglio.flow.plan.decoder_plan import Choice, DecoderPlan, bucket, file_name, key_of
from intaglio.flow.plan.guess import LocalGuess, neighbourhoods
from intaglio.flow.plan.planned_decoder import PlannedDecoder as Planned
from intaglio.flow.tiers import TIERS, Tier, differences


@pytest.mark.parametrize("seed", range(20))
def test_the_allocation_is_within_a_rounding_of_the_best_of_all_combinations(seed):
    draw = random.Random(seed)
    options = [
        [Choice("sequential", seconds=1.0)]
        + [Choice("jacobi", seconds=draw.random(), error=draw.random() * 0.5) for _ in range(4)]
        for _ in range(3)
    ]
    growth = [draw.uniform(0.5, 2) for _ in range(3)]
    chosen = allocate(options, growth, 0.6)

    def cost(combination):
        return sum(one.seconds for one in combination)

    def error(combination):
        return sum(one.error * grows for one, grows in zip(combination, growth, strict=True))

    every = list(itertools.product(*options))
    assert error(chosen) <= 0.6
    assert cost(chosen) >= min(cost(one) for one in every if error(one) <= 0.6) - 1e-12
    # rounding each error up by a quantum can forbid no combination that has three quanta to spare
    assert cost(chosen) <= min(cost(one) for one in every if error(one) <= 0.6 * (1 - 3 / 48)) + 1e-12


def test_neighbourhoods_are_the_patches_around_each():
    patches = torch.arange(12.0).reshape(1, 12, 1)  # a grid of 3 x 4
    around = neighbourhoods(patches, (3, 4), 1)
    assert around[0, 5].tolist() == [0, 1, 2, 4, 5, 6, 8, 9, 10]
    assert around[0, 0].tolist() == [0, 0, 0, 0, 0, 1, 0, 4, 5]


def test_a_fitted_guess_finds_a_linear_rule():
    source = torch.Generator().manual_seed(0)
    v = torch.randn(200, 12, 3, generator=source)
    weights = torch.randn(27, 3, generator=source)
    mean = torch.randn(12, 3, generator=source)
    u = mean + neighbourhoods(v, (3, 4), 1) @ weights
    guess = LocalGuess.fit(v, u, (3, 4))
    fresh = torch.randn(5, 12, 3, generator=source)
    # radius is larger than the rule's, so the fit has to find zeros too
    torch.testing.assert_close(guess(fresh), mean + neighbourhoods(fresh, (3, 4), 1) @ weights, atol=0.05, rtol=0.05)
    again = LocalGuess.of(guess.tensors("7"), "7", (3, 4))
    assert torch.equal(again(fresh), guess(fresh))


def test_a_tolerance_lets_no_picture_stop_too_early():
    changes = torch.tensor([[1.0, 0.9], [0.5, 0.3], [0.2, 0.4], [0.1, 0.05]])
    errors = torch.tensor([[0.8, 0.8], [0.3, 0.09], [0.09, 0.2], [0.01, 0.01]])
    # at 0.1 the second picture is wrong again after its third sweep, so it may not stop at its second
    assert tolerance_for(changes, errors, 0.1) == pytest.approx(0.9 * 0.3)
    assert tolerance_for(changes, errors, 0.25) == pytest.approx(0.9 * 0.5)
    assert tolerance_for(changes, errors, 0.005) is None
    assert tolerance_for(changes, errors, 1.0) > 1.0


def test_a_tier_holds_by_the_largest_and_the_mean():
    exact = torch.zeros(1, 10, 10)
    found = exact.clone()
    found[0, 0, 0] = 0.5
    assert differences(found, exact) == (0.5, pytest.approx(0.005))
    assert Tier(0.5, 0.005 + 1e-9).holds(found, exact)
    assert not Tier(0.4, 1.0).holds(found, exact)
    assert not Tier(1.0, 0.004).holds(found, exact)
    found[0, 0, 1] = torch.nan
    assert not Tier(10.0, 10.0).holds(found, exact)


@pytest.fixture(scope="module")
def model():
    return unit(double=False, spread=0.15, num_classes=3)


@pytest.fixture(scope="module")
def quick():
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"FITTED": 8, "JUDGED": 4, "PROVED": 4, "TURNS": 1, "GAIN": 0.0}.items():
            patch.setattr(calibration, name, value)
        yield


@pytest.fixture(scope="module", params=["near", "exact"])
def plan(request, model, quick):
    """The plan of the near tier without guidance, and of the exact one with it."""
    guidance = UNGUIDED if request.param == "near" else Guidance(scale=0.5)
    return calibrate(model, batch=2, tier=request.param, guidance=guidance)


def test_a_calibrated_plan_keeps_its_tier_on_other_latents(model, plan):
    tier, guidance = plan.key["tier"], UNGUIDED if plan.key["tier"] == "near" else Guidance(scale=0.5)
    z, labels = latents(model, 3, 77), torch.tensor([0, 1, 2])
    exact = Sequential()(model, z, labels=labels, guidance=guidance, denoise=False).patches
    found = Planned(plan=plan)(model, z, labels=labels, guidance=guidance, denoise=False)
    assert found.report.decoder == "auto"
    assert [block.method for block in found.report.blocks] == [choice.method for choice in plan.choices]
    # another draw's worst number may lie a little above that of the proof
    assert differences(found.patches, exact)[0] < 2 * TIERS[tier].largest
    assert plan.seconds > 0
    assert plan.sequential_seconds > 0


@pytest.mark.parametrize("plan", ["near"], indirect=True)
def test_a_plan_comes_back_from_its_file_and_is_found_by_its_key_alone(model, plan, tmp_path, caplog):
    path = plan.save(tmp_path)
    again = DecoderPlan.read(path)
    assert again.choices == plan.choices
    assert str(again) == str(plan)
    z = latents(model, 2)
    one, two = (Planned(plan=of)(model, z, denoise=False).patches for of in (plan, again))
    assert torch.equal(one, two)
    assert torch.equal(Auto(plans=tmp_path, batch=2)(model, z, denoise=False).patches, one)
    assert not caplog.records
    assert torch.equal(Auto(plans=tmp_path, batch=64)(model, z, denoise=False).patches, one)  # two are a batch of two
    assert not caplog.records
    for other in (Auto(plans=tmp_path, batch=1), Auto(plans=tmp_path, batch=2, tier="exact")):
        caplog.clear()
        found = other(model, z, denoise=False)
        assert "no plan was measured" in caplog.text
        assert found.report.decoder == "auto"
        assert {block.method for block in found.report.blocks} == {"sequential"}  # on a CPU
        assert differences(found.patches, inverted_by_hand(model, z))[0] < TIERS[other.tier].largest
    (tmp_path / path.name).write_bytes(b"damaged")
    with pytest.raises(Exception, match="damaged"):
        DecoderPlan.read(path)


def test_a_plan_is_for_one_model_batch_guidance_and_tier():
    model, other = unit(double=False), unit(double=False, seed=5)
    keys = [
        key_of(model, 8, UNGUIDED, "near"),
        key_of(other, 8, UNGUIDED, "near"),
        key_of(model, 16, UNGUIDED, "near"),
        key_of(model, 8, UNGUIDED, "exact"),
        key_of(model, 8, Guidance(scale=1.0), "near"),
        key_of(model.to(torch.bfloat16), 8, UNGUIDED, "near"),
    ]
    assert len({file_name(key) for key in keys}) == len(keys)
    assert [bucket(n) for n in (1, 2, 3, 5, 6, 60, 64, 100)] == [1, 2, 4, 4, 8, 64, 64, 128]


def test_sweeps_that_do_not_settle_go_on_patch_by_patch():
    model = unit(spread=0.3)
    plan = DecoderPlan({"batch": 3}, (Choice("jacobi", 1e-12, cap=3),) * 3)
    z, labels = latents(model, 3), torch.tensor([0, 1, 2])
    found = Planned(plan=plan)(model, z, labels=labels, denoise=False)
    torch.testing.assert_close(found.patches, inverted_by_hand(model, z, labels))
    for block in found.report.blocks:
        assert "3 pictures went on patch by patch after 3 sweeps" in block.fallbacks
        assert block.passes == 3 + 1 + 12  # the sweeps, the pass that stores what they proved, the patches left


def test_a_batch_of_none_is_refused(model):
    with pytest.raises(BadInput, match="at least 1 picture"):
        calibrate(model, batch=0)


def test_choices_are_described_in_words():
    assert str(Choice("sequential")) == "patch by patch"
    words = str(dataclasses.replace(Choice("frontier", 0.01, 8), coarse_sweeps=1, guess="fitted"))
    assert words == "1 coarse sweeps from the fitted guess, then windows of 8 to 1.0e-02"
