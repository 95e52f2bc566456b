"""Meters of NVIDIA accelerators by NVML: `NVMLCounter`, the driver's energy counter."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from intaglio.meters.domain import Domain, Provenance, Scope
from intaglio.meters.meter import Availability, MeterFailed, Reading

MISSING = "the library nvidia-ml-py is missing; install intaglio[energy]"
WRONG = "the module pynvml here is not that of nvidia-ml-py; uninstall the package pynvml, and install intaglio[energy]"


def load_nvml() -> Any:
    """The module of nvidia-ml-py, initialised. Raises `MeterFailed` in words."""
    try:
        import pynvml  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise MeterFailed(MISSING) from None
    if not hasattr(pynvml, "nvmlDeviceGetTotalEnergyConsumption"):
        raise MeterFailed(WRONG)
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise MeterFailed(f"the NVIDIA driver gives no access to NVML: {error}") from None
    return pynvml


@dataclass
class NVMLCounter:
    """Energy counter of one accelerator: millijoules since the driver was loaded, on Volta and newer.

    A fall means that the driver was loaded again; the window that holds it fails.
    """

    device: str
    """Torch device, such as `cuda:0`; found in NVML by its UUID, never by its number."""
    name: str = "nvml-counter"
    slow: bool = True
    tick_s: float | None = 0.1
    """Time between two updates, in s; some 0.02 to 0.1 by generation."""
    nvml: Any = None
    """The module, for tests; None loads it."""
    _handle: Any = field(default=None, repr=False)

    @property
    def devices(self) -> tuple[str, ...]:
        return (self.device,)

    def available(self) -> Availability:
        try:
            self._millijoules()
        except MeterFailed as error:
            return Availability("missing-library" if str(error) in (MISSING, WRONG) else "unsupported", str(error))
        return Availability("ok")

    def domains(self) -> Mapping[str, Domain]:
        name = f"gpu:{self.device.partition(':')[2] or '0'}"
        shared = len(processes_of(self.nvml, self._opened())) > 1
        return {name: Domain(name, Scope.GPU_BOARD, Provenance.COUNTER, self.name, shared=shared)}

    def read(self) -> Reading:
        millijoules = self._millijoules()
        return Reading(time.monotonic(), {f"gpu:{self.device.partition(':')[2] or '0'}": millijoules * 1e-3})

    def close(self) -> None:
        self._handle = None

    def _opened(self) -> Any:
        if self._handle is None:
            self.nvml = self.nvml or load_nvml()
            self._handle = handle_of(self.nvml, self.device)
        return self._handle

    def _millijoules(self) -> int:
        handle = self._opened()
        try:
            return self.nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
        except self.nvml.NVMLError as error:
            raise MeterFailed(f"{self.device} has no energy counter that can be read: {error}") from None


def handle_of(nvml: Any, device: str) -> Any:
    """NVML's handle of a torch device, by UUID: the numbers of the two differ. Raises `MeterFailed`."""
    import torch

    try:
        uuid = str(torch.cuda.get_device_properties(device).uuid)
    except (AssertionError, RuntimeError, AttributeError) as error:
        raise MeterFailed(f"torch does not know {device}: {error}") from None
    for prefix in ("GPU-", "MIG-", ""):
        try:
            return nvml.nvmlDeviceGetHandleByUUID(f"{prefix}{uuid.removeprefix(prefix)}")
        except nvml.NVMLError:
            continue
    raise MeterFailed(f"NVML knows no accelerator of {device}'s UUID")


def processes_of(nvml: Any, handle: Any) -> tuple[int, ...]:
    """Process ids that compute on an accelerator; empty where the driver does not tell."""
    try:
        return tuple(process.pid for process in nvml.nvmlDeviceGetComputeRunningProcesses(handle))
    except nvml.NVMLError:
        return ()
