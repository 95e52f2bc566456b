"""`EnergyProfile`: what layers cost on one device: measured points a family, and whole networks that check the sum."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jaxtyping import Float
from numpy import ndarray

from intaglio.energy.layers.layer import LayerFamily, SizedLayer, Step
from intaglio.energy.processes.family_process import FamilyFit, FamilyPoints
from intaglio.energy.processes.size_scale import Sizes


@dataclass(frozen=True, eq=False)
class ProfiledFamily:
    """Measured layers of one family, within bounds of sizes."""

    family: LayerFamily
    low: tuple[int, ...]
    high: tuple[int, ...]
    sizes: Sizes
    amounts: Float[ndarray, "n"]
    """Cost of one call, in the profile's unit."""
    variances: Float[ndarray, "n"]
    seconds: Float[ndarray, "n"]
    seconds_variances: Float[ndarray, "n"]
    stopped: str = ""
    """Why no further point was measured."""
    kink: float | None = None
    """(E1 - E0) - (E4 - E1) / 3 over a layer's cost: what the first copy costs beyond the others; None: unknown."""
    additive: bool = True
    """Whether the kink is within its noise and 5%."""
    fit: FamilyFit | None = None
    """Tiles and hyper-parameters of the costs, where they are known; they follow from the points."""
    time_fit: FamilyFit | None = None

    @property
    def points(self) -> FamilyPoints:
        return FamilyPoints(self.family, self.sizes, self.amounts, self.variances)

    @property
    def time_points(self) -> FamilyPoints:
        return FamilyPoints(self.family, self.sizes, self.seconds, self.seconds_variances)


@dataclass(frozen=True, eq=False)
class CalibrationNetwork:
    """A whole network that was measured, by whose cost sums are corrected."""

    name: str
    step: Step
    amount: float
    """Cost of a step, in the profile's unit."""
    variance: float
    seconds: float


@dataclass(frozen=True, eq=False)
class EnergyProfile:
    """Costs of layers on one device, for the families that were asked for."""

    unit: str
    """Unit of all amounts: `J`, or `CPU-s` where no meter of energy was there."""
    provenance: str
    """How amounts came about, as `Provenance` has it."""
    families: tuple[ProfiledFamily, ...]
    calibration: tuple[CalibrationNetwork, ...] = ()
    device: Mapping[str, Any] = field(default_factory=dict)
    """What the machine is, without names of hosts or users, serials and paths."""
    regime: Mapping[str, Any] = field(default_factory=dict)
    """What else costs depend on: versions, threads, precision modes."""
    meter: Mapping[str, Any] = field(default_factory=dict)
    """The meter, its tick, its stated accuracy `relative_sd`, idle power."""
    made: str = ""
    """Day and time at which it was made, in UTC."""
    notes: tuple[str, ...] = ()

    def of(self, family: LayerFamily) -> ProfiledFamily | None:
        """The measured points of a family; None where it was not profiled."""
        return next((one for one in self.families if one.family == family), None)

    @property
    def windows(self) -> int:
        """Measured points and networks."""
        return sum(len(one.amounts) for one in self.families) + len(self.calibration)


def layers_of(found: ProfiledFamily) -> list[SizedLayer]:
    """The layers that were measured."""
    return [SizedLayer(found.family, tuple(map(int, row))) for row in found.sizes]
