"""This machine, profiled for networks of many kinds, with held-out networks that are measured whole."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from intaglio.energy.devices.torch_device import TorchDevice
from intaglio.energy.layers.layer import Step
from intaglio.energy.model_networks import model_networks
from intaglio.energy.networks import SmallNetwork, networks_of
from intaglio.energy.profile.active import ActiveRules
from intaglio.energy.profile.energy_profile import EnergyProfile
from intaglio.energy.profile.fingerprint import fingerprint
from intaglio.energy.profile.profiling import ProfilePlan, WholeNetwork, make_profile
from intaglio.energy.profile.stored_device import StoredDevice
from intaglio.errors import BadInput
from intaglio.meters.domain import Unit
from intaglio.meters.machine_meters import meters_for
from intaglio.meters.meter import Meter
from intaglio.meters.process_time import ProcessTime
from intaglio.models.diffusion.loading import load_model
from intaglio.models.testbed import base_path
from intaglio.randomness import seed_32bit
from intaglio.runs.run import Run

CALIBRATION, QUICK_CALIBRATION = 12, 6
QUICK_POINTS = 10
"""Most points of a family with --quick."""


@dataclass(frozen=True, eq=False)
class MeasuredMachine:
    """A profile, and the held-out networks with their measured costs."""

    name: str
    """`machine-cpu-seconds`, `machine-cpu` or `machine-cuda`."""
    profile: EnergyProfile
    steps: list[Step]
    truth: list[float]
    """Costs of a step, in terms of the reference window at the start of the profile (`StoredDevice`)."""
    as_measured: list[float]
    """The same as read from the meter."""
    minutes: float
    """Time of the profile, without the held-out networks."""


@dataclass(frozen=True)
class MachineCell:
    """The suite of one machine."""

    device: str
    networks: int
    window: float
    seed: int
    quick: bool

    def measured(self, run: Run) -> MeasuredMachine:
        """A profile, then the held-out networks as they are. Raises `BadInput` for a device without a meter."""
        meter, unit = self._meter()
        device = TorchDevice(meter, self.device, window_s=self.window, unit_of=unit)
        held = [
            self._whole(device, one)
            for one in networks_of(self.networks, seed_32bit(self.seed, "held out"), device=self.device)
        ]
        held += model_networks(device, load_model(base_path(), device=self.device), 2)
        known = networks_of(
            QUICK_CALIBRATION if self.quick else CALIBRATION, seed_32bit(self.seed, "calibration"), device=self.device
        )
        here = fingerprint(self.device)
        about = {
            "provenance": str(next(iter(meter.domains().values())).provenance),
            "device": dict(here.device),
            "regime": dict(here.regime),
            "meter": {"name": meter.name, "relative_sd": 0.0},
        }
        rules = ActiveRules(points=QUICK_POINTS if self.quick else None, edges=1 if self.quick else 2)
        stored, began = StoredDevice(device, run), time.monotonic()
        whole = [self._whole(device, one) for one in known]
        profile = make_profile(stored, [one.step for one in held], whole, about, ProfilePlan(rules), run)
        minutes = (time.monotonic() - began) / 60
        truth, as_measured = _held_out(stored, held)
        kind = self.device.partition(":")[0]
        name = f"machine-{kind}" if unit is Unit.JOULES else f"machine-{kind}-seconds"
        return MeasuredMachine(name, profile, [one.step for one in held], truth, as_measured, minutes)

    def _meter(self) -> tuple[Meter, Unit]:
        found = meters_for(self.device)
        if found.measuring.meters:
            return found.measuring.meters[0], Unit.JOULES
        if self.device != "cpu":
            raise BadInput(f"{self.device} has no meter of energy that can be read: {found.why_not}")
        return ProcessTime(), Unit.CPU_SECONDS

    def _whole(self, device: TorchDevice, one: SmallNetwork) -> WholeNetwork:
        return WholeNetwork(one.name, one.step(), lambda: device.measure_step(one.run))


def _held_out(device: StoredDevice, networks: Sequence[WholeNetwork]) -> tuple[list[float], list[float]]:
    """Costs of networks in terms of the reference at the start, and as they are read."""
    keys = [f"held out {k} {network.name}" for k, network in enumerate(networks)]
    for key, network in zip(keys, networks, strict=True):
        device.kept(key, network.measure)
    device.settle()
    told = [device.kept(key, network.measure).amount for key, network in zip(keys, networks, strict=True)]
    return told, [device.as_measured(key).amount for key in keys]
