"""Measurements of a device that drifts: told in terms of the reference window, and made again about a change."""

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


def test_measurements_about_which_the_reference_changed_are_made_again():
    # 0 is the reference, 1 to 10 are layers, 11 is the look that tells; 12 to 21 are made again, and 22 looks.
    stored = StoredDevice(drifting(5, 21), Run.none())
    first = costs(stored, LAYERS[:9])
    assert max(np.array(first) / truth(LAYERS[:9])) == pytest.approx(1.2), "what was said before the look"
    costs(stored, LAYERS[9:10])
    assert stored.history == pytest.approx([1.0, 1.2, 1.0, 1.0])
    assert (stored.made_again, stored.unsettled) == (20, 0), "twice: at 22 the reference had changed once more"
    np.testing.assert_allclose(costs(stored, LAYERS[:10]), truth(LAYERS[:10]), rtol=1e-12)
    assert stored.as_measured(next(iter(stored._met))).amount == pytest.approx(truth(LAYERS[:1])[0])
    assert "20 measurements were made again" in stored.notes[1]


def test_what_a_slower_machine_reads_is_told_in_terms_of_the_start():
    stored = StoredDevice(drifting(11, 10**9), Run.none())
    read = costs(stored, LAYERS[:20])
    np.testing.assert_allclose(read[9:], truth(LAYERS[9:20]), rtol=1e-12)
    np.testing.assert_allclose(costs(stored, LAYERS[:20]), truth(LAYERS[:20]), rtol=1e-12)
    key = f"{LAYERS[15].family} {LAYERS[15].sizes}"
    assert stored.as_measured(key).amount == pytest.approx(1.2 * truth(LAYERS[15:16])[0])
    assert "the reference window cost +0% to +20%" in stored.notes[0]


def test_a_slow_rise_within_two_looks_is_divided_by_their_mean():
    stored = StoredDevice(drifting(6, 10**9, 1.04), Run.none())
    costs(stored, LAYERS[:10])
    ratios = np.array(costs(stored, LAYERS[:10])) / truth(LAYERS[:10])
    np.testing.assert_allclose(ratios, [1 / 1.02] * 5 + [1.04 / 1.02] * 5, rtol=1e-9)
    assert stored.made_again == 0


def test_a_restless_machine_is_not_waited_for_for_ever(monkeypatch):
    class Restless(SimulatedDevice):
        def measure(self, layers):
            found = super().measure(layers)
            scale = 1 + 0.1 * (self._asked // 11)
            return Measurement(scale * found.amount, found.variance, found.seconds)

    monkeypatch.setattr(stored_device, "MOST_AGAIN", 35)
    stored = StoredDevice(Restless(noise=0.0), Run.none())
    costs(stored, LAYERS[:20])
    assert (stored.made_again, stored.unsettled) == (30, 20), "two tries of ten, one more, and then none"


def test_an_interrupted_profile_reads_what_was_made_again(tmp_path):
    def asked(device, where):
        with Run.open(where, "bench", "energy", {}, {}, seed=0, device="cpu", command=(), progress="none") as run:
            stored = StoredDevice(device, run)
            costs(stored, LAYERS[:15])
            return costs(stored, LAYERS[:15]), stored.history

    once = asked(drifting(5, 21), tmp_path)
    never = drifting(0, 10**9, 7.0)
    assert asked(never, tmp_path) == once
    assert never._asked == 0, "nothing is measured a second time"


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
    assert any("reference" in note for note in drifted.notes)
    assert not any("reference" in note for note in steady.notes)
