"""Layers run by torch, measured by a planted meter."""

from dataclasses import replace

import pytest
import torch

from intaglio.energy.devices.layer_probes import feasible, probe_of
from intaglio.energy.devices.torch_device import TorchDevice
from intaglio.energy.layers.layer import LayerFamily, SizedLayer
from intaglio.energy.layers.parse import seen
from intaglio.errors import IntaglioError
from intaglio.meters.domain import Domain, Provenance, Scope, Unit
from intaglio.meters.meter import Availability, MeterReading
from intaglio.meters.process_time import ProcessTime
from intaglio.meters.spent import NoSum

CPU = torch.device("cpu")
NORMS = ("group", "layer", "rms", "batch", "instance")
OPERATIONS = ("copy", "arithmetic", "transcendental", "reduction")
CONVOLUTION = (("kernel", "3x3"), ("taps", 9), ("bias", True))


def layer(kind, attributes=(), sizes=None, **roles):
    family = LayerFamily(kind, attributes, (), **roles)
    return SizedLayer(family, sizes or (8,) * len(family.free))


PROBED = [
    layer("convolution", CONVOLUTION, (6, 10, 2 * 8 * 8)),
    layer("convolution", (("kernel", "3x3"), ("taps", 9), ("stride", 2)), (6, 10, 2 * 4 * 4)),
    layer("convolution", (("kernel", "4x4"), ("taps", 16), ("stride", 2), ("transposed", True)), (6, 10, 2 * 4 * 4)),
    layer("convolution", (*CONVOLUTION, ("depthwise", True)), (6, 6, 2 * 8 * 8)),
    layer("convolution", (("kernel", "3"), ("taps", 3)), (6, 10, 32)),
    layer("convolution", (("kernel", "3x3x3"), ("taps", 27)), (2, 4, 64)),
    layer("linear", (("bias", True),), (6, 10, 7)),
    layer("matmul", (), (3, 4, 5, 6)),
    layer("attention", (("causal", True), ("masked", False)), (6, 5, 5, 8)),
    layer("attention", (("causal", False), ("masked", True)), (6, 5, 7, 8)),
    *(layer("norm", (("norm", norm), ("affine", True), ("running", False)), (8, 32)) for norm in NORMS),
    *(layer("elementwise", (("operation", operation),), (24,)) for operation in OPERATIONS),
    layer("embedding", (), (4, 6, 10)),
    layer("lstm", (("layers", 2), ("bidirectional", True)), (5, 7, 3, 2)),
]


@pytest.mark.parametrize("asked", PROBED, ids=str)
def test_a_probe_runs_the_layer_that_it_stands_for(asked):
    step = seen(probe_of(asked, CPU).call)
    (found,) = [one for one in step.layers if one.family.kind == asked.family.kind]
    for name, size in asked.all_sizes.items():
        assert found.all_sizes[name] == pytest.approx(size, abs=asked.family.kind == "elementwise")
    given = {name: value for name, value in asked.family.attributes if value}
    assert given.items() <= dict(found.family.attributes).items()


@pytest.mark.parametrize("asked", PROBED, ids=str)
@pytest.mark.parametrize(("input_grad", "weight_grad"), [(True, False), (False, True), (True, True)])
def test_a_probe_trains_what_its_role_says(asked, input_grad, weight_grad):
    family = LayerFamily(asked.family.kind, asked.family.attributes, (), True, input_grad, weight_grad)
    probe = probe_of(SizedLayer(family, asked.sizes), CPU)
    with torch.enable_grad():
        step = seen(probe.call, train=True)
    roles = {(one.input_grad, one.weight_grad) for one in step.families if one.kind == asked.family.kind}
    has_weights = asked.family.kind not in ("elementwise",)
    if has_weights and asked.family.kind != "embedding":
        assert roles == {(input_grad, weight_grad)}
    assert bool(probe.leaves) == ((input_grad and asked.family.kind != "embedding") or (weight_grad and has_weights))


def test_pictures_have_the_positions_that_are_asked_for_or_nearly():
    exact = feasible(layer("convolution", CONVOLUTION, (8, 8, 2 * 16 * 16)))
    assert exact.sizes[2] == 512
    for positions in range(1, 3000, 7):
        found = feasible(layer("convolution", CONVOLUTION, (8, 8, positions))).sizes[2]
        assert abs(found / positions - 1) <= 0.5
    prime = feasible(layer("convolution", CONVOLUTION, (8, 8, 9973))).sizes[2]
    assert prime == pytest.approx(9973, rel=0.3)


class Steps:
    """A meter that gives a joule for each call of the step that it watches, and 0.01 s of time."""

    name, slow, devices, tick_s = "steps", False, (), None

    def __init__(self):
        self.calls = 0

    def available(self):
        return Availability("ok")

    def domains(self):
        return {"steps": Domain("steps", Scope.CHIP, Provenance.COUNTER, self.name)}

    def read(self):
        return MeterReading(0.01 * self.calls, {"steps": float(self.calls)})

    def close(self):
        pass


def test_a_measurement_is_a_mean_over_the_steps_of_its_windows():
    meter = Steps()

    def step():
        meter.calls += 1

    found = TorchDevice(meter, window_s=0.02).measure_step(step)
    assert (found.amount, found.variance) == (1.0, 0.0)
    assert found.seconds == pytest.approx(0.01)


def test_a_device_that_others_compute_on_is_refused_unless_all_of_it_is_to_be_counted():
    meter = Steps()
    own = meter.domains

    def step():
        meter.calls += 1

    meter.domains = lambda: {name: replace(domain, shared=True) for name, domain in own().items()}
    with pytest.raises(NoSum, match="steps was shared with others"):
        TorchDevice(meter, window_s=0.02).measure_step(step)
    assert TorchDevice(meter, window_s=0.02, beside_others=True).measure_step(step).amount == 1.0


def test_windows_that_differ_are_taken_again():
    meter = Steps()
    windows = []

    def read():
        windows.append(meter.calls)
        return MeterReading(0.01 * meter.calls, {"steps": float(meter.calls) * (1 + 0.1 * len(windows))})

    meter.read = read

    def step():
        meter.calls += 1

    found = TorchDevice(meter, window_s=0.02).measure_step(step)
    assert len(windows) == 2 * 7
    assert found.variance > 0


def test_processor_seconds_of_more_layers_are_more():
    device = TorchDevice(ProcessTime(), window_s=0.02, unit_of=Unit.CPU_SECONDS)
    asked = layer("linear", (("bias", True),), (64, 64, 256), train=True, input_grad=True, weight_grad=True)
    one, four = (device.measure([asked] * count).amount for count in (1, 4))
    assert 2 < four / one < 8


def test_an_update_is_that_of_so_many_numbers():
    probe = probe_of(SizedLayer(LayerFamily("optimiser", (("rule", "adamw"),)), (1200, 3)), CPU)
    before = probe.call().clone()
    assert before.shape == (400,)
    assert not torch.equal(probe.call(), before)
    assert not probe.leaves


def test_what_has_no_probe_is_refused():
    with pytest.raises(IntaglioError, match="no probe is known for a layer of kind step"):
        probe_of(SizedLayer(LayerFamily("step")), CPU)
    with pytest.raises(IntaglioError, match="no probe is known for layers of int64"):
        probe_of(layer("linear", (), (4, 4, 4), dtype="int64"), CPU)
