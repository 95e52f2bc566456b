"""The meters of this machine: those that can be read now for work on a device, and why the others cannot."""

from collections.abc import Sequence
from dataclasses import dataclass

from intaglio.meters.meter import Availability, Meter
from intaglio.meters.nvml import NVMLCounter
from intaglio.meters.rapl import RAPL


@dataclass(frozen=True)
class FoundMeters:
    """Meters for work on one device."""

    meters: tuple[Meter, ...]
    """Those that can be read; no two cover the same hardware."""
    absent: tuple[tuple[str, Availability], ...]
    """Names of the others, and why they cannot be read."""

    @property
    def why_not(self) -> str:
        """What is not metered, and the remedies; empty where nothing is missing."""
        return "; ".join(f"{name}: {availability.why}" for name, availability in self.absent)


def meters_for(device: str = "cpu") -> FoundMeters:
    """The meters for work on a torch device, such as `cpu` or `cuda:1`: of the accelerator and of the processor."""
    return _sorted(_candidates(device))


def _candidates(device: str) -> Sequence[Meter]:
    accelerator = [NVMLCounter(device)] if device.partition(":")[0] == "cuda" else []
    return [*accelerator, RAPL()]


def _sorted(candidates: Sequence[Meter]) -> FoundMeters:
    looked = [(meter, meter.available()) for meter in candidates]
    return FoundMeters(
        tuple(meter for meter, found in looked if found),
        tuple((meter.name, found) for meter, found in looked if not found),
    )
