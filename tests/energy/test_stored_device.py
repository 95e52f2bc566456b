"""Measurements of a device that drifts: the reference window tells, and they are made again."""

import numpy as np
import pytest

from energy_networks import convolution, network
from intaglio.energy.devices.device import Measurement
from intaglio.energy.devices.simulated import SimulatedDevice
from intaglio.energy.layers.layer import step_of
from intaglio.energy.profile import stored_device
from intaglio.energy.profile.active import ActiveRules
from intaglio.energy.profile.profiling import ProfilePlan, make_profile
from intaglio.energy.profile.stored_device import REFERENCE, StoredDevice
from intaglio.errors import IntaglioError
from intaglio.runs.run import Run

LAYERS = [convolution(32, 8 + k, 8) for k in range(25)]


class Drifting(SimulatedDevice):
    """A device without noise that costs `factor` times as much from one measurement to another, counted from 0."""

    first, last, factor = 5, 14, 1.2

    def measure(self, layers):
        found = super().measure(layers)
        asked = self._asked - 1
        scale = self.factor if self.first <= asked <= self.last else 1.0
        return Measurement(scale * found.amount, found.variance, found.seconds)


def drifting(first, last, factor=1.2):
    device = Drifting(noise=0.0)
    device.first, device.last, device.factor = first, last, factor
    return device


def truth(layers):
    return [SimulatedDevice().truth([layer]) for layer in layers]


def costs(stored, layers):
    return [stored.measure([layer]).amount for layer in layers]


def test_a_steady_machine_is_measured_once_and_looked_at_every_ten():
    device = SimulatedDevice(noise=0.0)
    stored = StoredDevice(device, Run.none())
    np.testing.assert_allclose(costs(stored, LAYERS), truth(LAYERS), rtol=1e-12)
    assert device._asked == 25 + 3, "the first reference, and two after ten measurements each"
    assert stored.history == pytest.approx([1.0, 1.0, 1.0])
    assert stored.notes == ()
    costs(stored, LAYERS)
    assert device._asked == 28, "what is known is not measured again"


def test_measurements_of_a_drift_are_made_again():
    # 0 is the reference, 1 to 10 are layers, 11 is the look that tells; the machine has come back at 12.
    stored = StoredDevice(drifting(5, 11), Run.none())
    first = costs(stored, LAYERS[:10])
    assert max(np.array(first) / truth(LAYERS[:10])) == pytest.approx(1.2), "what was said before the look"
    np.testing.assert_allclose(costs(stored, LAYERS[:10]), truth(LAYERS[:10]), rtol=1e-12)
    assert stored.history == pytest.approx([1.0, 1.2, 1.0])
    assert (stored.made_again, stored.unsettled) == (10, 0)
    assert "10 measurements were made again" in stored.notes[0]


def test_a_machine_that_never_comes_back_is_not_waited_for_for_ever(monkeypatch):
    monkeypatch.setattr(stored_device, "MOST_AGAIN", 35)
    device = drifting(5, 10**9)
    stored = StoredDevice(device, Run.none())
    costs(stored, LAYERS[:20])
    assert (stored.made_again, stored.unsettled) == (30, 20), "three tries of ten, and then no more"
    assert "20 measurements are of a time when the reference cost up to 20% else" in stored.notes[1]


def test_noise_is_no_drift():
    stored = StoredDevice(SimulatedDevice(noise=0.05, seed=3), Run.none())
    costs(stored, LAYERS)
    assert max(abs(ratio - 1) for ratio in stored.history) > 0.02
    assert stored.made_again == 0


def test_a_device_without_the_reference_has_no_history():
    class Bare(SimulatedDevice):
        def measure(self, layers):
            if REFERENCE in layers:
                raise IntaglioError("no such layer")
            return super().measure(layers)

    stored = StoredDevice(Bare(noise=0.0), Run.none())
    np.testing.assert_allclose(costs(stored, LAYERS), truth(LAYERS), rtol=1e-12)
    assert stored.history == []


def test_a_profile_of_a_drifting_machine_is_that_of_a_steady_one():
    steps = [step_of(network([8, 64, 128, 256]))]

    def profiled(device):
        rules = ActiveRules(points=4, relative_sd=0.0)
        return make_profile(device, steps, [], {"provenance": "modelled"}, ProfilePlan(rules, kinks=False))

    steady, drifted = profiled(SimulatedDevice(noise=0.0)), profiled(drifting(4, 11))
    for one, other in zip(steady.families, drifted.families, strict=True):
        np.testing.assert_array_equal(one.sizes, other.sizes)
        np.testing.assert_allclose(one.amounts, other.amounts, rtol=1e-9)
    assert max(drifted.meter["reference_history"]) == pytest.approx(1.2)
    assert any("made again" in note for note in drifted.notes)
    assert not any("made again" in note for note in steady.notes)
