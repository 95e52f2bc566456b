"""Estimators of energy, on the simulated device of known truth."""

import numpy as np
import pytest

from energy_networks import STEP, convolution, head, networks
from intaglio.energy.devices.simulated import SimulatedDevice
from intaglio.energy.layers.layer import LayerFamily, SizedLayer, step_of
from intaglio.energy.methods.flops_affine import FlopsAffine
from intaglio.energy.methods.flops_linear import FlopsLinear
from intaglio.energy.methods.mean_power import MeanPower
from intaglio.energy.methods.neural_power import NeuralPower
from intaglio.energy.methods.parameters_affine import ParametersAffine
from intaglio.energy.methods.thor import Thor
from intaglio.energy.profile.active import ActiveRules, pooled, profile_family
from intaglio.energy.profile.energy_profile import CalibrationNetwork, EnergyProfile
from intaglio.energy.profile.isolation import DepthSlope
from intaglio.energy.profile.sum_correction import SumCorrection, WholeCost
from intaglio.errors import BadInput

HELD_OUT = networks(30, seed=2)


class EmptyStep:
    def __call__(self, device, layer):
        return device.measure([])


def profiled(device, points=16, calibration=5):
    def family(layer, low, high, **rules):
        return profile_family(device, DepthSlope(), layer.family, low, high, ActiveRules(**rules))

    families = [
        family(head(8), (8, 10), (256, 10), points=8, edges=1),
        family(convolution(32, 3, 8, first=True), (3, 8), (3, 256), points=8, edges=1),
        *(family(convolution(side, 8, 8), (8, 8), (256, 256), points=points) for side in (32, 16, 8)),
        profile_family(device, EmptyStep(), STEP, (), ()),
    ]
    measured = []
    for k, layers in enumerate(networks(calibration, seed=1)):
        found = device.measure(layers)
        measured.append(CalibrationNetwork(str(k), whole(layers), found.amount, found.variance, found.seconds))
    return EnergyProfile("J", "modelled", pooled(families), tuple(measured), meter={"relative_sd": 0.0})


def whole(layers):
    return step_of([*layers, SizedLayer(STEP)])


def judged(device, predict):
    found = [predict(whole(layers)) for layers in HELD_OUT]
    truth = [device.truth(layers) for layers in HELD_OUT]
    errors = [abs(one.amount / true - 1) for one, true in zip(found, truth, strict=True)]
    inside = [one.interval[0] <= true <= one.interval[1] for one, true in zip(found, truth, strict=True)]
    return float(np.mean(errors)), float(np.mean(inside))


@pytest.fixture(scope="module")
def smooth():
    return profiled(SimulatedDevice())


def test_networks_of_unseen_widths_are_predicted(smooth):
    error, covered = judged(SimulatedDevice(), Thor()(smooth))
    assert error <= 0.02
    assert covered >= 0.9


@pytest.mark.parametrize(
    ("device", "points", "most"),
    [
        (SimulatedDevice(noise=0.03), 16, 0.03),
        (SimulatedDevice(tiles=(32, 64)), 24, 0.03),
        (SimulatedDevice(interaction=0.3), 16, 0.08),
    ],
)
def test_noise_steps_and_interactions_are_borne(device, points, most):
    profile = profiled(device, points)
    error, covered = judged(device, Thor()(profile))
    assert error <= most
    assert covered >= 0.85
    assert error < judged(device, ParametersAffine()(profile))[0]
    if device.tiles != (1, 1):
        assert error < 0.5 * judged(device, FlopsLinear()(profile))[0]


def test_the_paper_s_own_processes_run(smooth):
    error, _ = judged(SimulatedDevice(), Thor(paper=True)(smooth))
    assert error < 0.2


@pytest.mark.parametrize("method", [FlopsLinear(), FlopsAffine(), MeanPower(), NeuralPower()])
def test_baselines_learn_what_they_can(smooth, method):
    error, _ = judged(SimulatedDevice(), method(smooth))
    assert error < 0.15


def test_equal_layers_err_together(smooth):
    predict = Thor()(smooth)
    layer = convolution(16, 100, 100)
    one, many = (predict(step_of([layer] * count)) for count in (1, 20))
    assert many.amount == pytest.approx(20 * one.amount)
    assert many.sd / many.amount == pytest.approx(one.sd / one.amount)


def test_a_layer_a_little_beyond_the_bounds_is_scaled_and_less_sure(smooth):
    predict, device = Thor()(smooth), SimulatedDevice()
    inside, beyond = (predict(step_of([convolution(16, width, 256)])) for width in (256, 400))
    assert beyond.amount == pytest.approx(device.cost(convolution(16, 400, 256))[0], rel=0.1)
    assert beyond.sd / beyond.amount > inside.sd / inside.amount
    assert beyond.coverage == 1.0


def test_what_was_never_profiled_widens_the_interval_and_lowers_coverage(smooth):
    predict, device = Thor()(smooth), SimulatedDevice()
    strange = SizedLayer(LayerFamily("attention"), (64, 256, 256, 64))
    alone, mixed = predict(step_of([strange])), predict(whole([*HELD_OUT[0], strange]))
    assert alone.coverage == 0.0
    rates = [device.cost(layer)[0] / layer.flops for layer in HELD_OUT[0]]
    assert min(rates) < alone.amount / strange.flops < max(rates), "no rate of an empty step"
    assert 0 < mixed.coverage < 1
    assert any("attention" in warning for warning in mixed.warnings)
    plain = predict(whole(HELD_OUT[0]))
    assert mixed.sd / mixed.amount > plain.sd / plain.amount
    far = predict(step_of([convolution(16, 4096, 256)]))
    assert far.coverage == 0.0


def test_time_is_predicted_too(smooth):
    device, layers = SimulatedDevice(), HELD_OUT[3]
    seconds = 1e-4 + sum(device.cost(layer)[1] for layer in layers)
    assert Thor()(smooth)(whole(layers)).seconds == pytest.approx(seconds, rel=0.1)


def test_the_correction_is_the_median_ratio_where_it_differs_from_one():
    apart = SumCorrection.of([WholeCost(1.1, 1.0), WholeCost(2.2, 2.0), WholeCost(3.36, 3.0)])
    assert apart.factor == pytest.approx(1.1)
    ratios = np.array([1.1, 1.1, 1.12])
    # 4.302653 is the 97.5% point of Student's t with two degrees of freedom.
    assert apart.relative_sd == pytest.approx(
        max(0.01, ratios.std(ddof=1) / 1.1 * np.sqrt(4 / 3) * 4.302653 / 1.96), rel=1e-5
    )
    level = SumCorrection.of([WholeCost(1.1, 1.0), WholeCost(0.9, 1.0), WholeCost(1.0, 1.0)])
    assert level.factor == 1.0
    assert SumCorrection.of([WholeCost(2.0, 1.0)]).factor == 1.0
    assert SumCorrection.of([WholeCost(2.0, 1.0)]).relative_sd > 0.1


def test_what_a_network_costs_beside_its_layers_is_told_apart():
    """Costs 1.2 Σ + 0.05 + 0.01 passes, of networks whose sums and passes do not go together."""
    sizes = ((1.0, 9), (2.0, 3), (0.2, 20), (5.0, 1), (3.0, 30), (1.0, 2))
    known = [WholeCost(1.2 * s + 0.05 + 0.01 * p, s, p) for s, p in sizes]
    found = SumCorrection.of(known)
    assert (found.factor, found.step, found.layer_pass) == pytest.approx((1.2, 0.05, 0.01), rel=1e-6)
    assert found.relative_sd == 0.01
    assert found(4.0, 5, 3) == pytest.approx(1.2 * 4 + 0.15 + 0.05)
    plain = SumCorrection.of([WholeCost(1.3 * s, s, p) for s, p in sizes])
    assert (plain.factor, plain.step, plain.layer_pass) == (pytest.approx(1.3), 0.0, 0.0)


def test_the_spread_is_relative_and_counts_the_terms():
    """The same scatter gives the same spread at any factor; with p terms n - p degrees of freedom are left."""
    scatter = (1.02, 0.97, 1.01, 0.99, 1.03)
    one, four = (SumCorrection.of([WholeCost(factor * r, 1.0) for r in scatter]) for factor in (1.5, 4.0))
    assert one.relative_sd == pytest.approx(four.relative_sd, rel=1e-6)
    sizes, scatter = (
        ((1.0, 9), (2.0, 3), (0.2, 20), (5.0, 1), (3.0, 30), (1.0, 2)),
        (1.02, 0.97, 1.01, 0.99, 1.03, 0.98),
    )
    known = [WholeCost(r * (s + 0.05 * p), s, p) for (s, p), r in zip(sizes, scatter, strict=True)]
    found = SumCorrection.of(known)
    assert found.layer_pass > 0
    terms = 1 + (found.step > 0) + 1
    off = np.array([one.measured / found(one.summed, one.passes, one.steps) - 1 for one in known])
    quantile = {2: 2.776445, 3: 3.182446}[terms]  # of Student's t with 4 and 3 degrees of freedom
    spread = np.sqrt((off @ off) / (6 - terms) * 7 / 6) * quantile / 1.96
    assert found.relative_sd == pytest.approx(spread, rel=1e-4)


def test_steps_of_a_job_are_counted():
    layer = convolution(16, 8, 8)
    step = step_of([layer, layer])
    assert (step.passes, step.steps) == (4, 1)
    assert (step.times(7).passes, step.times(7).steps) == (28, 7)
    assert (step + step.times(2)).steps == 3


def test_a_profile_that_lacks_what_a_method_wants_is_refused():
    empty = EnergyProfile("J", "modelled", ())
    for method in (Thor(), NeuralPower()):
        with pytest.raises(BadInput, match="no measured layers"):
            method(empty)
    for method in (FlopsLinear(), FlopsAffine(), ParametersAffine(), MeanPower()):
        with pytest.raises(BadInput, match="measured networks"):
            method(empty)
