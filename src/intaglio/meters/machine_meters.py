"""The meters of this machine: those that can be read now for work on a device, and why the others cannot."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from intaglio.meters.jetson import JetsonRails
from intaglio.meters.meter import Availability, Meter, MeterFailed
from intaglio.meters.nvml_counter import NVMLCounter
from intaglio.meters.nvml_power import NVMLPower
from intaglio.meters.powermetrics import PowerMetrics
from intaglio.meters.process_time import ProcessTime
from intaglio.meters.rapl import RAPL

ESTIMATES = Availability("unsupported", "its figures are estimates of the vendor, and no measurement")

Looked = tuple[Meter, Availability]


@dataclass(frozen=True)
class FoundMeters:
    """Meters for work on one device."""

    meters: tuple[Meter, ...]
    """Those that can be read; no two cover the same hardware."""
    absent: tuple[tuple[str, Availability], ...]
    """Names of the others, and why they cannot be read."""

    @property
    def why_not(self) -> str:
        """Absent meters with their remedies, in words; empty where nothing is missing."""
        return "; ".join(f"{name}: {availability.why}" for name, availability in self.absent)

    @property
    def measuring(self) -> "FoundMeters":
        """The meters that measure; those that only estimate are counted among the absent, with that reason."""
        estimating = tuple((meter.name, ESTIMATES) for meter in self.meters if not _measures(meter))
        return FoundMeters(tuple(filter(_measures, self.meters)), self.absent + estimating)


def meters_for(device: str = "cpu") -> FoundMeters:
    """The meters for work on a torch device, such as `cpu` or `cuda:1`: of the accelerator and of the processor."""
    chosen = [_first_that_reads(hardware) for hardware in _candidates(device)]
    return FoundMeters(
        tuple(meter for looked in chosen for meter, found in looked if found),
        tuple((meter.name, found) for looked in chosen for meter, found in looked if not found),
    )


def every_meter(device: str) -> Iterator[Looked]:
    """Each meter of hardware that there is, for work on a torch device, and whether it can be read here."""
    for meter in (NVMLCounter(device), NVMLPower(device), RAPL(), JetsonRails(), PowerMetrics(), ProcessTime()):
        yield meter, meter.available()


def _candidates(device: str) -> Sequence[Sequence[Meter]]:
    """For each piece of hardware the meters that can speak for it, the best first; a Jetson's rails speak for all."""
    if (board := JetsonRails()).available():
        return [[board]]
    accelerator = [[NVMLCounter(device), NVMLPower(device)]] if device.partition(":")[0] == "cuda" else []
    return [*accelerator, [RAPL(), PowerMetrics()]]


def _measures(meter: Meter) -> bool:
    """Whether its figures are measured; a meter that cannot tell is asked again by those who read it."""
    try:
        return any(domain.provenance.kind == "measured" for domain in meter.domains().values())
    except MeterFailed:
        return True


def _first_that_reads(hardware: Sequence[Meter]) -> Sequence[Looked]:
    """The first meter that can be read; where none can, those whose absence has a remedy, or else the first."""
    absent: list[Looked] = []
    for meter in hardware:
        if found := meter.available():
            return [(meter, found)]
        absent.append((meter, found))
    remedied = [looked for looked in absent if looked[1].state != "unsupported"] or absent[:1]
    by_reason: dict[str, Looked] = {}
    for meter, found in remedied:
        by_reason.setdefault(found.why, (meter, found))
    return list(by_reason.values())
