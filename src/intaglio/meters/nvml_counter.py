"""`NVMLCounter`: the energy counter that the driver of an NVIDIA accelerator keeps."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from intaglio.meters.domain import Domain, Provenance, Scope
from intaglio.meters.meter import Availability, MeterFailed, MeterReading
from intaglio.meters.nvml import Accelerator, accelerator_of, availability_of


@dataclass
class NVMLCounter:
    """Energy counter of one accelerator: millijoules since the driver was loaded, on Volta and newer.

    A fall means that the driver was loaded again; the window that holds it fails. Where others compute on the board, or
    the device is a MIG part of it, the domain is shared.
    """

    device: str
    """Torch device, such as `cuda:0`; found in NVML by its UUID or PCI bus, never by its number."""
    name: str = "nvml-counter"
    slow: bool = True
    tick_s: float | None = 0.1
    """Time between two updates, in s; the longest of the generations that are known, and `tick_of` measures it.

    It is not measured unasked, for that takes seconds in which nothing else can be done.
    """
    nvml: Any = None
    """The module, for tests; None loads it."""
    _accelerator: Accelerator | None = field(default=None, repr=False)

    @property
    def devices(self) -> tuple[str, ...]:
        return (self.device,)

    def available(self) -> Availability:
        try:
            self._millijoules()
        except MeterFailed as error:
            return availability_of(error)
        return Availability("ok")

    def domains(self) -> Mapping[str, Domain]:
        board = self._opened()
        return {
            board.domain: Domain(board.domain, Scope.GPU_BOARD, Provenance.COUNTER, self.name, shared=board.partitioned)
        }

    def read(self) -> MeterReading:
        joules = self._millijoules() * 1e-3
        now, board = time.monotonic(), self._opened()
        return MeterReading(now, {board.domain: joules}, shared=frozenset({board.domain} if board.is_shared() else ()))

    def close(self) -> None:
        self._accelerator = None

    def _opened(self) -> Accelerator:
        if self._accelerator is None:
            self._accelerator = accelerator_of(self.device, self.nvml)
        return self._accelerator

    def _millijoules(self) -> int:
        board = self._opened()
        try:
            return board.nvml.nvmlDeviceGetTotalEnergyConsumption(board.handle)
        except board.nvml.NVMLError as error:
            raise MeterFailed(f"{self.device} has no energy counter that can be read: {error}") from None
