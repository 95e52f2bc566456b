"""Estimates of jobs: intervals, units, coverage, and the profile that a machine is estimated by."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from energy_networks import convolution, head
from intaglio.energy import machine_profile as places
from intaglio.energy.conversions import Battery, Rates
from intaglio.energy.energy_estimate import estimate
from intaglio.energy.jobs import JobWork
from intaglio.energy.layers.layer import LayerFamily, SizedLayer, Step, step_of
from intaglio.energy.profile.energy_profile import EnergyProfile, ProfiledFamily
from intaglio.energy.profile.family_bounds import bounds_of
from intaglio.energy.profile.fingerprint import fingerprint
from intaglio.energy.profile.profile_file import save_profile
from intaglio.energy.step_estimate import StepEstimate
from intaglio.energy.workloads import decoder_step, denoiser_step, flow_step, prompt_step, update_step
from intaglio.errors import BadInput
from intaglio.models.diffusion.loading import load_model
from intaglio.models.flow.flow_folders import flow_names
from intaglio.models.flow.shipped import open_flow
from intaglio.models.testbed import base_path

WORK = JobWork({"a": step_of([head(8)]), "b": step_of([head(16), head(16)])}, {"a": 1, "b": 2})


def of_cost(unit="J", coverage=1.0, **further):
    """A predictor of 100 a layer, with 10% of spread."""

    def predict(step):
        amount = 100.0 * sum(step.layers.values())
        return StepEstimate(amount, 0.1 * amount, 2.0, unit, "measured-counter", coverage, **further)

    return predict


def test_the_interval_is_log_normal_and_that_of_the_normal_where_it_is_narrow():
    low, high = StepEstimate(100.0, 1.0, 1.0, "J", "modelled").interval
    assert (low, high) == pytest.approx((98.06, 101.98), abs=0.01)
    low, high = StepEstimate(100.0, 300.0, 1.0, "J", "modelled").interval
    assert low * high == pytest.approx(100.0**2)
    assert high == pytest.approx(100 * math.exp(1.96 * math.sqrt(math.log(10))))
    assert StepEstimate(100.0, float("inf"), 1.0, "J", "modelled").interval == (0.0, float("inf"))
    assert StepEstimate(0.0, 0.0, 1.0, "J", "modelled").interval == (0.0, float("inf"))


def test_a_job_in_joules_has_other_units_by_the_given_rates_only():
    rates = Rates(grams_per_kwh=360.0, battery=Battery(volts=4.0, amp_hours=1.0))
    found = estimate(of_cost(), WORK, rates)
    assert found.joules == 300.0
    figures = found.figures()
    assert figures["battery_share"] == pytest.approx(300 / 14400)
    assert figures["grams_co2e"] == pytest.approx(300 / 3.6e6 * 360)
    assert figures["money"] is None
    assert figures["joules_modelled"] is None
    assert figures["parts"] == {"a": 100.0, "b": 200.0}
    text = str(found)
    assert "about 300 J" in text
    assert "not known: state a price" in text


def test_processor_seconds_are_no_joules_and_modelled_ones_stand_apart():
    found = estimate(of_cost("CPU-s"), WORK, watts_per_cpu_second=10.0)
    figures = found.figures()
    assert found.joules is figures["joules"] is figures["kwh"] is None
    assert figures["amount"] == 300.0
    assert figures["joules_modelled"] == 3000.0
    assert figures["joules_modelled_interval_95"] == pytest.approx([10 * bound for bound in figures["interval_95"]])
    assert "processor  about 5 CPU-min" in str(found)
    assert estimate(of_cost("CPU-s"), WORK).figures()["joules_modelled"] is None


def test_what_is_not_covered_is_refused_or_told():
    with pytest.raises(BadInput, match="only 40% of this work is covered"):
        estimate(of_cost(coverage=0.4), WORK)
    assert estimate(of_cost(coverage=0.4), WORK, allow_low_coverage=True).joules == 300.0
    told = estimate(of_cost(coverage=0.8, warnings=("a layer was guessed",)), WORK).warnings
    assert told == ("a layer was guessed", "only 80% of the amount rests on measured layers")


def test_bounds_hold_all_sizes_and_shares_are_those_where_they_are_largest():
    one, two = step_of([convolution(8, 16, 32), head(8)]), step_of([convolution(8, 64, 8)])
    found = bounds_of([one, two])
    bounds = found[convolution(8, 8, 8).family]
    assert (bounds.low, bounds.high, bounds.share) == ((16, 8), (64, 32), 1.0)
    assert list(found) == [convolution(8, 8, 8).family, head(8).family]


def small_profile(**changed):
    here = fingerprint("cpu")
    sizes = np.array([[8, 10], [64, 10], [256, 10]])
    amounts = np.array([1.0, 2.0, 3.0])
    family = ProfiledFamily(head(8).family, (8, 10), (256, 10), sizes, amounts, 1e-4 * amounts, amounts, 1e-4 * amounts)
    profile = EnergyProfile("CPU-s", "measured-counter", (family,), device=here.device, regime=here.regime)
    return replace(profile, **changed)


def test_a_machine_is_estimated_by_its_own_profile_or_a_given_one(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert places.machine_profile() is None
    with pytest.raises(BadInput, match="there is no profile of cpu; make one with intaglio energy profile"):
        places.needed_profile()
    other = {**fingerprint("cpu").device, "model": "another processor"}
    save_profile(small_profile(device=other), tmp_path / "other.safetensors")
    given = places.needed_profile(path=tmp_path / "other.safetensors")
    assert "another processor there" in given.match.warnings[0]
    own = places.own_profile_path()
    assert own == tmp_path / ".local/share/intaglio/energy/cpu.safetensors"
    own.parent.mkdir(parents=True)
    save_profile(small_profile(), own)
    assert places.needed_profile().match.warnings == ()
    monkeypatch.setattr(places, "SHIPPED", tmp_path / "other.safetensors")
    assert places.known_profile().match.warnings == ()
    own.unlink()
    assert places.machine_profile() is None
    assert [text.split(",")[0] for text in places.known_profile().match.warnings] == [
        "the profile is the one that ships",
        "the profile is of another machine or session (variance x 2): model another processor there",
    ]
    with pytest.raises(BadInput, match="no profile of cuda"):
        places.known_profile("cuda")
    own.parent.mkdir(exist_ok=True)
    save_profile(small_profile(), own)
    assert places.own_profile_path("cuda:1").name == "cuda.safetensors"


@pytest.fixture(scope="module")
def model():
    return load_model(base_path())


def products(step: Step, *, train: bool):
    return [layer for layer in step.layers if layer.family.of_kind.matrix and layer.family.train == train]


def test_steps_of_the_embedded_model(model):
    weights = [weight.requires_grad for weight in model.denoiser.parameters()]
    one, two = denoiser_step(model, 1), denoiser_step(model, 2)
    assert two.flops == pytest.approx(2 * one.flops, rel=0.01)
    assert not products(one, train=True)
    assert decoder_step(model, 2, size=(32, 32)).flops == pytest.approx(decoder_step(model, 2).flops / 4, rel=0.05)
    tokens = model.tokenizers[0].model_max_length
    assert {
        layer.all_sizes["positions"] for layer in prompt_step(model, 3).layers if layer.family.kind == "linear"
    } == {3 * tokens}
    model.denoiser.requires_grad_(True)
    training = denoiser_step(model, 2, train=True)
    model.denoiser.requires_grad_(False)
    # Of all products but the first, both the input's and the weights' gradients are due: three times the forward pass.
    assert training.flops == pytest.approx(3 * two.flops, rel=0.1)
    for weight, wanted in zip(model.denoiser.parameters(), weights, strict=True):
        weight.requires_grad_(wanted)


def test_an_update_counts_numbers_and_tensors():
    (layer,) = update_step([torch.zeros(3, 4), torch.zeros(5)]).layers
    assert layer == SizedLayer(LayerFamily("optimiser", (("rule", "adamw"),)), (17, 2))
    assert not update_step([]).layers


def test_a_flow_in_training_is_parsed():
    flow = open_flow(flow_names()[0]).model
    flow.requires_grad_(True)
    step = flow_step(flow, 2)
    assert {"attention", "linear", "norm"} <= {layer.family.kind for layer in step.layers}
    assert products(step, train=True)
