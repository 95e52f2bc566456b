"""Simulated devices of known truth, profiled, with held-out networks."""

from collections.abc import Mapping, Sequence

from intaglio.energy.devices.device import Device, Measurement
from intaglio.energy.devices.simulated import SimulatedDevice
from intaglio.energy.layers.layer import LayerFamily, SizedLayer, Step, step_of
from intaglio.energy.profile.active import ActiveRules, pooled, profile_family
from intaglio.energy.profile.energy_profile import CalibrationNetwork, EnergyProfile
from intaglio.energy.profile.isolation import DepthSlope
from intaglio.randomness import numpy_generator, seed_32bit

SIMULATED: Mapping[str, Mapping] = {
    "smooth": {},
    "noisy": {"noise": 0.03},
    "tiles": {"tiles": (32, 64)},
    "interaction-0.1": {"interaction": 0.1},
    "interaction-0.3": {"interaction": 0.3},
}
"""Settings of `SimulatedDevice`, by the device's name."""
BATCH, CALIBRATION = 32, 5
SIDES = (32, 16, 8)
STEP = LayerFamily("step")


class _EmptyStep:
    """Cost of a step without layers."""

    def __call__(self, device: Device, layer: SizedLayer) -> Measurement:
        return device.measure([])


def simulated_cell(name: str, held_out: int, seed: int) -> tuple[EnergyProfile, list[Step], list[float]]:
    """A device's profile, and held-out networks with their true costs."""
    device = SimulatedDevice(**SIMULATED[name], seed=seed_32bit(seed, name))
    ends = ActiveRules(points=8, edges=1)
    families = [
        profile_family(device, DepthSlope(), head(8).family, (8, 10), (256, 10), ends),
        profile_family(device, DepthSlope(), convolution(32, 3, 8, first=True).family, (3, 8), (3, 256), ends),
        *(
            profile_family(
                device, DepthSlope(), convolution(side, 8, 8).family, (8, 8), (256, 256), ActiveRules(points=24)
            )
            for side in SIDES
        ),
        profile_family(device, _EmptyStep(), STEP, (), ()),
    ]
    measured = []
    for k, layers in enumerate(networks(CALIBRATION, seed, "calibration")):
        found = device.measure(layers)
        measured.append(CalibrationNetwork(str(k), _whole(layers), found.amount, found.variance, found.seconds))
    profile = EnergyProfile("J", "modelled", pooled(families), tuple(measured), meter={"relative_sd": 0.0})
    tests = networks(held_out, seed, "held out")
    return profile, [_whole(layers) for layers in tests], [device.truth(layers) for layers in tests]


def convolution(side: int, c_in: int, c_out: int, *, first: bool = False) -> SizedLayer:
    """A 3x3 convolution in training on 32 pictures of a side; the first one needs no gradient of its input."""
    fixed = (("positions", BATCH * side * side),)
    family = LayerFamily("convolution", (("taps", 9),), fixed, train=True, input_grad=not first, weight_grad=True)
    return SizedLayer(family, (c_in, c_out))


def head(c_in: int) -> SizedLayer:
    """A linear layer of ten outputs."""
    family = LayerFamily("linear", (), (("positions", BATCH),), train=True, input_grad=True, weight_grad=True)
    return SizedLayer(family, (c_in, 10))


def networks(count: int, seed: int, label: str) -> list[Sequence[SizedLayer]]:
    """Four convolutions at sides 32, 32, 16 and 8 with 8 to 256 channels, and a head; a function of seed and label."""
    widths = numpy_generator(seed_32bit(seed, label)).integers(8, 257, (count, 4)).tolist()
    return [
        [convolution(32, 3, a, first=True), convolution(32, a, b), convolution(16, b, c), convolution(8, c, d), head(d)]
        for a, b, c, d in widths
    ]


def _whole(layers: Sequence[SizedLayer]) -> Step:
    return step_of([*layers, SizedLayer(STEP)])
