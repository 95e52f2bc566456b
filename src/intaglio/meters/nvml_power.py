"""`NVMLPower`: the power of an NVIDIA accelerator, polled; for boards without an energy counter."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from intaglio.meters.domain import Domain, Provenance, Scope
from intaglio.meters.meter import Availability, MeterFailed, MeterReading
from intaglio.meters.nvml import Accelerator, accelerator_of, availability_of
from intaglio.meters.polled_power import PolledPower

EVERY_S = 0.05
"""Time between two samples, in s: half the longest update of the sensors that is known, 0.1 s."""
INSTANT_TICK_S, AVERAGE_TICK_S = 0.1, 1.0
INSTANT, AVERAGE, PLAIN = "NVML_FI_DEV_POWER_INSTANT", "NVML_FI_DEV_POWER_AVERAGE", "nvmlDeviceGetPowerUsage"
GPU_SCOPE, MODULE_SCOPE = 0, 1
LAST_INSTANT = (8, 0)
"""Newest compute capability whose plain power is that of the moment; later ones give the mean of a second."""
NUMBERS = {0: "dVal", 1: "uiVal", 2: "ulVal", 3: "ullVal", 4: "sllVal"}
"""Member of NVML's union by the type of a value."""


@dataclass(frozen=True)
class _Source:
    """One way to ask for the power."""

    question: str
    module: bool = False
    """Whether the figure is that of the whole module, accelerator and processor together."""


SOURCES = (_Source(INSTANT), _Source(AVERAGE), _Source(INSTANT, True), _Source(AVERAGE, True), _Source(PLAIN))
"""In the order in which they are tried; a figure of unknown scope comes last."""


@dataclass
class NVMLPower:
    """Power of one accelerator in W, of the moment where the driver tells it, integrated over time.

    The sensor of some boards looks only a quarter of the time (arXiv 2312.02741), so windows should be long and not in
    step with it. A module that gives one figure for accelerator and processor is the domain `gpu-module:N`.
    """

    device: str
    """Torch device, such as `cuda:0`; found in NVML by its UUID or PCI bus, never by its number."""
    name: str = "nvml-power"
    slow: bool = True
    every_s: float = EVERY_S
    """Time between two samples, in s, above 0."""
    nvml: Any = None
    """The module, for tests; None loads it."""
    _accelerator: Accelerator | None = field(default=None, repr=False)
    _source: _Source | None = field(default=None, repr=False)
    _polled: PolledPower = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._polled = PolledPower(self.name, self._watts, self.every_s)

    @property
    def devices(self) -> tuple[str, ...]:
        return (self.device,)

    @property
    def tick_s(self) -> float | None:
        """Time over which one figure of the board speaks, in s: 0.1 of the moment, 1 for a mean."""
        try:
            board, source = self._opened()
        except MeterFailed:
            return AVERAGE_TICK_S
        averaged = source.question == AVERAGE or (source.question == PLAIN and _capability(board) > LAST_INSTANT)
        return AVERAGE_TICK_S if averaged else INSTANT_TICK_S

    def available(self) -> Availability:
        try:
            self._opened()
        except MeterFailed as error:
            return availability_of(error)
        return Availability("ok")

    def domains(self) -> Mapping[str, Domain]:
        board, source = self._opened()
        scope = Scope.GPU_MODULE if source.module else Scope.GPU_BOARD
        name = _name(board, source)
        return {name: Domain(name, scope, Provenance.SAMPLED, self.name, shared=board.partitioned)}

    def read(self) -> MeterReading:
        reading = self._polled.read()
        board, source = self._opened()
        shared = frozenset({_name(board, source)} if board.is_shared() else ())
        return MeterReading(reading.time_s, reading.amounts, reading.breaks, reading.why_broken, shared)

    def close(self) -> None:
        self._polled.close()
        self._accelerator = self._source = None

    def _opened(self) -> tuple[Accelerator, _Source]:
        """The accelerator, and the first source that answers. Raises `MeterFailed`."""
        if self._accelerator is None or self._source is None:
            board = accelerator_of(self.device, self.nvml)
            self._source = next((source for source in SOURCES if _milliwatts(board, source)), None)
            if self._source is None:
                raise MeterFailed(f"{self.device} tells no power that can be read; a meter at the wall can")
            self._accelerator = board
        return self._accelerator, self._source

    def _watts(self) -> Mapping[str, float]:
        board, source = self._opened()
        milliwatts = _milliwatts(board, source)
        if not milliwatts:
            raise MeterFailed(f"{self.device} ceased to tell its power ({source.question})")
        return {_name(board, source): milliwatts * 1e-3}


def _name(board: Accelerator, source: _Source) -> str:
    return f"gpu-module:{board.index}" if source.module else board.domain


def _milliwatts(board: Accelerator, source: _Source) -> float | None:
    """The power in mW; None where the source does not answer, and 0 where it answers without a figure."""
    nvml = board.nvml
    try:
        if source.question == PLAIN:
            return float(nvml.nvmlDeviceGetPowerUsage(board.handle))
        asked = (getattr(nvml, source.question), MODULE_SCOPE if source.module else GPU_SCOPE)
        (value,) = nvml.nvmlDeviceGetFieldValues(board.handle, [asked])
    except (nvml.NVMLError, AttributeError):
        return None
    number = NUMBERS.get(value.valueType)
    return float(getattr(value.value, number)) if value.nvmlReturn == 0 and number else None


def _capability(board: Accelerator) -> tuple[int, int]:
    """The compute capability; that of the newest where the driver does not tell."""
    try:
        major, minor = board.nvml.nvmlDeviceGetCudaComputeCapability(board.handle)
    except (board.nvml.NVMLError, AttributeError):
        return 99, 0
    return major, minor
