"""A small profile of the simulated device, with a measured network, made in a moment."""

from functools import cache

from energy_networks import STEP, head, networks
from intaglio.energy.devices.simulated import SimulatedDevice
from intaglio.energy.layers.layer import SizedLayer, step_of
from intaglio.energy.profile.active import ActiveRules, profile_family
from intaglio.energy.profile.energy_profile import CalibrationNetwork, EnergyProfile
from intaglio.energy.profile.isolation import DepthSlope
from intaglio.energy.profile.known_fits import with_fits

DEVICE = {"model": "Simulator", "kind": "cpu", "cores": 8, "memory_gb": 16}
REGIME = {"torch": "2.6", "system": "Linux", "threads": 4, "matmul_precision": "highest"}


class EmptyStep:
    def __call__(self, device, layer):
        return device.measure([])


@cache
def small_profile(seed: int = 0, points: int = 6) -> EnergyProfile:
    """Output layers of 8 to 256 channels, the step alone, and one whole network."""
    device = SimulatedDevice(seed=seed)
    rules = ActiveRules(points=points, edges=1, relative_sd=0.0)
    outputs = profile_family(device, DepthSlope(), head(8).family, (8, 10), (256, 10), rules)
    alone = profile_family(device, EmptyStep(), STEP, (), ())
    layers = networks(1, seed=1)[0]
    found = device.measure(layers)
    step = step_of([*layers, SizedLayer(STEP)])
    network = CalibrationNetwork("net", step, found.amount, found.variance, found.seconds)
    return with_fits(
        EnergyProfile(
            "J",
            "modelled",
            (outputs, alone),
            (network,),
            DEVICE,
            REGIME,
            {"name": "simulator", "relative_sd": 0.02},
            "2026-01-31T12:00:00Z",
            ("made for tests",),
        )
    )
