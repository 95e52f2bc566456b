"""The questions that every method of `energy estimate` is asked."""

from dataclasses import replace
from math import isfinite

import numpy as np
import pytest

from energy_networks import convolution, head, networks
from intaglio.commands.kit.source_settings import load
from intaglio.energy.devices.simulated import SimulatedDevice
from intaglio.energy.layers.layer import step_of
from intaglio.energy.profile.active import ActiveRules, profile_family
from intaglio.energy.profile.energy_profile import CalibrationNetwork, EnergyProfile
from intaglio.energy.profile.isolation import DepthSlope
from intaglio.energy.profile.profile_file import load_profile, save_profile
from intaglio.errors import BadInput
from intaglio.verbs import VERBS

METHODS = {name: load(method.target) for name, method in VERBS["energy estimate"].methods.items()}
STEPS = [step_of(layers) for layers in networks(6, seed=5)]
every_estimator = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


@pytest.fixture(scope="module")
def profile():
    device, rules = SimulatedDevice(), ActiveRules(points=7, edges=1)
    asked = [(convolution(32, 3, 8, first=True), (3, 8), (3, 256)), (head(8), (8, 10), (256, 10))]
    asked += [(convolution(side, 8, 8), (8, 8), (256, 256)) for side in (32, 16, 8)]
    families = tuple(profile_family(device, DepthSlope(), one.family, *bounds, rules) for one, *bounds in asked)
    measured = []
    for k, layers in enumerate(networks(6, seed=6)):
        found = device.measure(layers)
        measured.append(CalibrationNetwork(str(k), step_of(layers), found.amount, found.variance, found.seconds))
    return EnergyProfile("J", "measured-counter", families, tuple(measured))


@every_estimator
def test_the_same_profile_gives_the_same_figures_whatever_its_file(method, profile, tmp_path):
    straight = method()(save_profile(profile, tmp_path / "profile.safetensors"))
    expected = [repr(straight(step)) for step in STEPS]
    for suffix in ("safetensors", "json"):
        save_profile(profile, tmp_path / f"profile.{suffix}")
        again = method()(load_profile(tmp_path / f"profile.{suffix}"))
        # As words, in which nan equals nan.
        assert [repr(again(step)) for step in STEPS] == expected


@every_estimator
def test_an_estimate_has_unit_origin_and_an_ordered_interval(method, profile):
    found = method()(replace(profile, unit="CPU-s"))(STEPS[0])
    assert (found.unit, found.provenance) == ("CPU-s", "measured-counter")
    low, high = found.interval
    assert 0 <= low <= found.amount <= high
    assert isfinite(found.amount)


@every_estimator
def test_more_work_costs_more(method, profile):
    predict = method()(profile)
    for step in STEPS:
        assert predict(step.times(3)).amount > predict(step).amount


@every_estimator
def test_units_of_cost_do_not_matter(method, profile):
    def scaled(factor):
        families = [
            replace(one, amounts=factor * one.amounts, variances=factor**2 * one.variances) for one in profile.families
        ]
        known = [
            replace(one, amount=factor * one.amount, variance=factor**2 * one.variance) for one in profile.calibration
        ]
        return replace(profile, families=tuple(families), calibration=tuple(known))

    small, usual = method()(scaled(1e-3)), method()(profile)
    ratios = [small(step).amount / usual(step).amount for step in STEPS]
    np.testing.assert_allclose(ratios, 1e-3, rtol=0.02)


@every_estimator
def test_a_profile_without_anything_is_refused_before_any_step(method):
    with pytest.raises(BadInput):
        method()(EnergyProfile("J", "measured-counter", ()))
