"""The time of a profile: the most points of every family, and the windows of each."""

import pytest

from energy_networks import network
from intaglio.energy.devices.simulated import SimulatedDevice
from intaglio.energy.devices.torch_device import LOOK_S, TorchDevice
from intaglio.energy.layers.layer import step_of
from intaglio.energy.profile.active import ActiveRules
from intaglio.energy.profile.family_bounds import bounds_of
from intaglio.energy.profile.profile_time import points_of, profile_time
from intaglio.energy.profile.profiling import ProfilePlan, WholeNetwork, make_profile
from intaglio.meters.process_time import ProcessTime

STEPS = [step_of(network([width] * 4)) for width in (8, 64)]


@pytest.mark.parametrize("points", [None, 4])
def test_no_family_takes_more_points_than_are_planned(points):
    plan, device = ProfilePlan(ActiveRules(points=points)), SimulatedDevice()
    profile = make_profile(device, STEPS, [], {"provenance": "", "device": {}, "regime": {}, "made": ""}, plan)
    asked = bounds_of(STEPS)
    for family in profile.families:
        assert len(family.sizes) <= points_of(asked[family.family], plan)
    assert len(profile.families) == len(asked)


def test_seconds_are_points_by_copies_by_windows(monkeypatch):
    device = TorchDevice(ProcessTime(), window_s=2.0, repeats=3, warm_up=2)
    monkeypatch.setattr(TorchDevice, "_window_s", lambda self: self.window_s)
    each = 2 * LOOK_S + 3 * 2.0  # steps that take no time
    plan, asked = ProfilePlan(ActiveRules(points=5)), bounds_of(STEPS)
    points = sum(5 if one.low != one.high else 1 for one in asked.values())
    whole = [WholeNetwork("net", STEPS[0], lambda: None)]
    found = profile_time(device, STEPS, whole, plan, 1e30)
    assert found.parts["families"] == pytest.approx(2 * points * each)  # with one copy and with four
    assert found.parts["networks"] == pytest.approx(2 * each)  # before and after
    assert found.parts["looks at the reference"] == pytest.approx((2 * points + 2) / 10 * each)
    assert found.at_most
    slow = profile_time(device, STEPS, whole, plan, STEPS[0].flops / 4.0)  # a call of the network takes 4 s
    assert slow.parts["networks"] == pytest.approx(2 * (2 * 4 + 2 * 4 + 3 * (2 + 4)))
