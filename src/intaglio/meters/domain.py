"""`Domain`: the part of a machine that a meter speaks for, in which unit, and how far its figures can be trusted."""

from dataclasses import dataclass
from enum import StrEnum


class Provenance(StrEnum):
    """Origin of a figure. Only the first three are measured; no sum holds figures of two `kind`s."""

    COUNTER = "measured-counter"
    """A cumulative counter of the hardware."""
    SAMPLED = "measured-sampled"
    """Power or charge, sampled and integrated."""
    EXTERNAL = "measured-external"
    """A meter outside the machine, such as a trace of a wall socket."""
    VENDOR_ESTIMATE = "vendor-estimate"
    """A figure that the vendor computes from activity and calls an estimate."""
    MODELLED = "modelled"
    """Computed from time or counts and stated rates."""

    @property
    def kind(self) -> str:
        """`measured`, `vendor-estimate` or `modelled`."""
        return "measured" if self.value.startswith("measured") else self.value


class Scope(StrEnum):
    """Kind of hardware that a domain covers."""

    GPU_BOARD = "gpu-board"
    GPU_MODULE = "gpu-module"
    """A processor and an accelerator in one package."""
    CPU_PACKAGE = "cpu-package"
    CPU_PART = "cpu-part"
    """Cores or the uncore of a package."""
    MEMORY = "memory"
    CHIP = "chip"
    """A system on a chip, or one of its rails."""
    SYSTEM = "system"
    """Everything behind the supply of a board."""
    WALL = "wall"
    BATTERY = "battery"
    PROCESS = "process"
    """The processor time of a process and its ended children."""


class Unit(StrEnum):
    """Unit of a meter."""

    JOULES = "J"
    CPU_SECONDS = "CPU-s"


@dataclass(frozen=True)
class Domain:
    """Hardware that one figure of a meter covers, its unit and its origin."""

    name: str
    """Unique in a monitor, such as `gpu:0` or `cpu-package:0`."""
    scope: Scope
    provenance: Provenance
    meter: str
    """Name of the meter."""
    unit: Unit = Unit.JOULES
    inside: frozenset[str] = frozenset()
    """Names of domains that contain this one, so that no sum counts it beside them."""
    shared: bool = False
    """Whether the figure holds the work of others too, such as of another process on the same accelerator."""
