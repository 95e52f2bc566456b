"""Isolation of layers and the active choice of sizes, on the simulated device of known truth."""

import numpy as np
import pytest

from energy_networks import STEP, convolution, head, network
from intaglio.energy.devices.device import Measurement
from intaglio.energy.devices.simulated import SimulatedDevice
from intaglio.energy.layers.layer import SizedLayer, step_of
from intaglio.energy.processes.family_process import family_process
from intaglio.energy.profile.active import ActiveRules, pooled, profile_family
from intaglio.energy.profile.edge_probes import corners, edge_pairs
from intaglio.energy.profile.isolation import Alone, DepthSlope, kink_of, slope
from intaglio.energy.profile.profiling import ProfilePlan, WholeNetwork, make_profile
from intaglio.errors import IntaglioError
from intaglio.runs.run import Run

LAYER = convolution(32, 64, 128)


def test_the_simulated_device_gives_its_checked_values():
    device = SimulatedDevice()
    assert device.cost(LAYER)[0] == pytest.approx(0.2432435, abs=1e-7)
    assert device.cost(convolution(32, 65, 129))[0] == pytest.approx(0.2487952, abs=1e-7)
    assert SimulatedDevice((32, 64)).cost(convolution(32, 65, 129))[0] == pytest.approx(0.5332838, abs=1e-7)
    three = [convolution(32, 3, 64, first=True), LAYER, head(128)]
    assert device.truth(three) == pytest.approx(0.2523396, abs=1e-7)
    assert SimulatedDevice(interaction=0.1).truth(three) == pytest.approx(0.2515300, abs=1e-7)


def test_an_unaligned_window_errs_by_a_tick():
    device = SimulatedDevice(noise=0.0, tick_s=0.5, repeats=4000)
    found = device.measure([LAYER])
    steps = np.ceil(1000 / device.truth([LAYER]))
    sd = np.sqrt(found.variance * 4000)
    assert sd == pytest.approx(200 * 0.5 / np.sqrt(6) / steps, rel=0.05)


@pytest.mark.parametrize("isolate", [DepthSlope(), DepthSlope((1, 2, 4)), Alone()])
def test_without_interaction_every_isolation_gives_the_cost_of_the_layer(isolate):
    device = SimulatedDevice(noise=0.0)
    found = isolate(device, LAYER)
    assert (found.amount, found.seconds) == pytest.approx(device.cost(LAYER))


def test_the_slope_is_that_of_weighted_least_squares():
    x, y, v = np.array([1, 2, 4]), np.array([1.0, 2.5, 3.0]), np.array([0.1, 0.2, 0.7])
    root = np.sqrt(1 / v)
    design = np.stack([np.ones(3), x], 1) * root[:, None]
    solution, covariance = np.linalg.solve(design.T @ design, design.T @ (y * root)), np.linalg.inv(design.T @ design)
    assert slope((1, 2, 4), list(y), list(v)) == pytest.approx((solution[1], covariance[1, 1]))


def between(first, last):
    """Steps that ask for every family of these networks between two widths."""
    return [step_of(network([width] * 4)) for width in (first, last)]


def isolated(isolation, device, steps, points=8):
    plan = ProfilePlan(ActiveRules(points=points, relative_sd=0.0), isolation, kinks=False)
    return make_profile(device, steps, [], {"provenance": "modelled"}, plan)


@pytest.mark.parametrize("isolation", ["slope", "alone", "subtraction"])
def test_without_interaction_a_profile_of_any_isolation_has_the_costs_of_the_layers(isolation):
    profile = isolated(isolation, SimulatedDevice(noise=0.0), between(8, 256))
    assert len(profile.families) == 5
    for found in profile.families:
        layers = [SizedLayer(found.family, tuple(map(int, row))) for row in found.sizes]
        truth = [SimulatedDevice().cost(layer) for layer in layers]
        np.testing.assert_allclose(found.amounts, [amount for amount, _ in truth], rtol=0.01)
        np.testing.assert_allclose(found.seconds, [seconds for _, seconds in truth], rtol=0.01)
    assert profile.meter["isolation"] == isolation
    assert not any("by depth slope" in note for note in profile.notes)


def test_subtraction_begins_with_the_output_then_the_input():
    class Listening(SimulatedDevice):
        def measure(self, layers):
            asked.append([layer.family.kind for layer in layers])
            return super().measure(layers)

    asked = list[list[str]]()
    profile = isolated("subtraction", Listening(noise=0.0), between(8, 256), points=3)
    assert profile.families[0].family == head(8).family
    assert profile.families[1].family == convolution(32, 3, 8, first=True).family
    steps = [kinds for kinds in asked if kinds]
    assert ["linear"] in steps
    assert ["convolution", "linear"] in steps
    assert ["convolution", "convolution", "linear"] in steps
    assert ["convolution"] not in steps, "no convolution is measured alone"


def test_subtraction_bears_the_variances_of_what_it_takes_off():
    class Steady(SimulatedDevice):
        def measure(self, layers):
            found = super().measure(layers)
            return Measurement(found.amount, (0.01 * found.amount) ** 2, found.seconds)

    found = isolated("subtraction", Steady(noise=0.0), between(8, 256), points=3).families[1]
    nets = [[SizedLayer(found.family, tuple(map(int, row))), head(int(row[1]))] for row in found.sizes]
    both = np.array([SimulatedDevice().truth(net) for net in nets])
    assert (found.variances > 1e-4 * (both**2 + SimulatedDevice().truth([]) ** 2)).all(), (
        "and the output's own variance"
    )


@pytest.mark.parametrize("forward", [True, False])
def test_where_no_input_or_output_fits_depth_slope_is_taken_and_said(forward):
    steps = [step_of([convolution(32, width, width)] + ([] if forward else [head(64)])) for width in (8, 256)]
    profile = isolated("subtraction", SimulatedDevice(noise=0.0), steps)
    (note,) = [note for note in profile.notes if note.startswith("by depth slope")]
    assert "convolution" in note
    assert "linear" not in note
    found = profile.of(convolution(32, 8, 8).family)
    truth = [SimulatedDevice().cost(SizedLayer(found.family, tuple(map(int, row))))[0] for row in found.sizes]
    np.testing.assert_allclose(found.amounts, truth, rtol=1e-9)


@pytest.mark.parametrize("interaction", [0.0, 0.3])
def test_the_kink_tells_interaction(interaction):
    flagged = [not kink_of(SimulatedDevice(interaction=interaction, seed=seed), LAYER).additive for seed in range(40)]
    assert np.mean(flagged) == (1 if interaction else 0)
    exact = kink_of(SimulatedDevice(interaction=interaction, noise=0.0), LAYER)
    assert exact.share == pytest.approx(interaction / (1 - interaction))


def test_edges_straddle_tiles_within_the_bounds():
    family = LAYER.family
    assert edge_pairs(family, (8, 8), (256, 256), 1) == [(64, 45), (65, 45), (45, 64), (45, 65)]
    assert edge_pairs(family, (8, 8), (32, 8), 2) == [(16, 8), (17, 8), (24, 8), (25, 8)]
    assert edge_pairs(family, (3, 8), (3, 8)) == []
    assert corners((8, 10), (32, 10)) == [(8, 10), (32, 10), (16, 10)]


def asked(device=None, **rules):
    device = device or SimulatedDevice()
    return profile_family(device, DepthSlope(), LAYER.family, (8, 8), (256, 256), ActiveRules(**rules))


def test_a_family_is_measured_until_it_is_known():
    found = asked()
    assert found.stopped == "known well enough"
    assert 13 <= len(found.amounts) < 24
    truth = [SimulatedDevice().cost(SizedLayer(found.family, tuple(map(int, row))))[0] for row in found.sizes]
    np.testing.assert_allclose(found.amounts, truth, rtol=0.05)
    assert len(asked(points=7).amounts) == 7
    assert asked(seconds=0.0).stopped == "time for the family was up"


def test_the_same_measurements_choose_the_same_points():
    np.testing.assert_array_equal(asked(relative_sd=0.0, points=20).sizes, asked(relative_sd=0.0, points=20).sizes)


def test_points_are_chosen_for_a_target():
    target = [(convolution(32, 200, 200), 5.0)]
    rules = ActiveRules(relative_sd=0.0, left_out_error=0.0, points=20, edges=0)

    def sd_there(target):
        found = profile_family(SimulatedDevice(), DepthSlope(), LAYER.family, (8, 8), (256, 256), rules, target)
        return family_process(found.points, found.low, found.high).relative_sd(np.array([[200, 200]]))[0]

    assert sd_there(target) < sd_there(())


def test_a_layer_that_cannot_be_run_is_left_out():
    class Small(SimulatedDevice):
        def measure(self, layers):
            if any(layer.sizes[0] > 200 for layer in layers):
                raise IntaglioError("out of memory")
            return super().measure(layers)

    found = asked(Small())
    assert found.sizes[:, 0].max() <= 200
    with pytest.raises(IntaglioError, match=r"no layer of convolution.* could be measured: out of memory"):
        profile_family(Small(), DepthSlope(), LAYER.family, (201, 8), (256, 256))


def test_a_family_of_one_size_is_measured_once():
    class Empty:
        def __call__(self, device, layer):
            return device.measure([])

    found = profile_family(SimulatedDevice(), Empty(), STEP, (), ())
    assert found.sizes.shape == (1, 0)
    assert found.amounts[0] == pytest.approx(1e-3, rel=0.05)


def test_spreads_of_few_windows_are_pooled():
    class Lucky(SimulatedDevice):
        def measure(self, layers):
            found = super().measure(layers)
            return Measurement(found.amount, 0.0 if len(layers) == 1 else found.variance, found.seconds)

    (found,) = pooled([asked(Lucky())])
    relative = np.sqrt(found.variances) / found.amounts
    assert relative.min() >= np.median(relative) * 0.999
    assert len(network([8, 8, 8, 8])) == 5


def test_a_profile_that_is_interrupted_goes_on_where_it_was(tmp_path):
    """The same points, whatever was measured before; and nothing is measured twice."""
    steps = [step_of(network([8, 64, 128, 256])), step_of(network([256, 8, 8, 8]))]

    class Dying(SimulatedDevice):
        def measure(self, layers):
            if self._asked >= 40:
                raise KeyboardInterrupt
            return super().measure(layers)

    def profiled(device):
        with Run.open(tmp_path, "demo", "", {}, {}, seed=0, device="cpu", command=[], progress="none") as run:
            plan = ProfilePlan(ActiveRules(points=8))
            whole = [WholeNetwork("a", steps[0], lambda: device.measure(network([8, 64, 128, 256])))]
            return make_profile(device, steps, whole, {"provenance": "modelled"}, plan, run)

    with pytest.raises(KeyboardInterrupt):
        profiled(Dying())
    device = SimulatedDevice()
    device._asked = 40
    again, straight = profiled(device), None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("intaglio.energy.profile.profiling.Run.recorded", lambda run, kind: {})
        straight = profiled(SimulatedDevice())
    assert [one.family for one in again.families] == [one.family for one in straight.families]
    for one, other in zip(again.families, straight.families, strict=True):
        np.testing.assert_array_equal(one.sizes, other.sizes)
        np.testing.assert_array_equal(one.amounts, other.amounts)
    assert again.calibration[0].amount == straight.calibration[0].amount
    assert all(one.fit is not None for one in again.families)
