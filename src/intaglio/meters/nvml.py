"""NVIDIA accelerators as the driver's library NVML knows them: found by UUID or bus, shared or not."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from intaglio.meters.meter import Availability, MeterFailed
from intaglio.meters.process_tree import others_among

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


@dataclass(frozen=True)
class Accelerator:
    """A torch device in NVML."""

    nvml: Any
    """The module of nvidia-ml-py, initialised."""
    device: str
    """Torch device, such as `cuda:0`."""
    handle: Any
    """NVML's handle of the whole board, also where the device is a MIG part of it."""
    partitioned: bool = False
    """Whether the board is cut into MIG parts, whose work no meter of the board tells apart."""

    @property
    def domain(self) -> str:
        """The name of the board's domain, such as `gpu:0`."""
        return f"gpu:{self.index}"

    @property
    def index(self) -> str:
        """Torch's number of the device."""
        return self.device.partition(":")[2] or "0"

    def is_shared(self) -> bool:
        """Whether processes that do not descend from this one compute on the board now."""
        return others_among(processes_of(self.nvml, self.handle))


def accelerator_of(device: str, nvml: Any = None) -> Accelerator:
    """A torch device in NVML, whose numbers differ from torch's. Raises `MeterFailed`."""
    nvml = nvml or load_nvml()
    handle = handle_of(nvml, device)
    board = _board_of(nvml, handle)
    return Accelerator(nvml, device, board if board is not None else handle, board is not None or _is_cut(nvml, handle))


def availability_of(error: MeterFailed) -> Availability:
    """The error of an accelerator or its meter as an answer of `available`."""
    return Availability("missing-library" if str(error) in (MISSING, WRONG) else "unsupported", str(error))


def processes_of(nvml: Any, handle: Any) -> tuple[int, ...]:
    """Process ids that compute on an accelerator; empty where the driver does not tell."""
    try:
        return tuple(process.pid for process in nvml.nvmlDeviceGetComputeRunningProcesses(handle))
    except nvml.NVMLError:
        return ()


def handle_of(nvml: Any, device: str) -> Any:
    """NVML's handle of a torch device or MIG part, by UUID, else by PCI bus. Raises `MeterFailed`."""
    import torch

    try:
        properties = torch.cuda.get_device_properties(device)
    except (AssertionError, RuntimeError, ValueError) as error:
        raise MeterFailed(f"torch does not know {device}: {error}") from None
    for uuid in _spellings(properties):
        try:
            return nvml.nvmlDeviceGetHandleByUUID(uuid)
        except nvml.NVMLError:
            continue
    if bus := _bus_of(properties):
        try:
            return nvml.nvmlDeviceGetHandleByPciBusId(bus)
        except nvml.NVMLError:
            pass
    raise MeterFailed(
        f"NVML knows no accelerator by {device}'s UUID or PCI bus; use the driver and torch of one machine"
    )


def _spellings(properties: Any) -> Iterator[str]:
    """A device's UUID as NVML may write it; torch leaves the prefix out."""
    if uuid := str(getattr(properties, "uuid", "")):
        bare = uuid.removeprefix("GPU-").removeprefix("MIG-")
        yield from dict.fromkeys((uuid, f"GPU-{bare}", f"MIG-{bare}", bare))


def _bus_of(properties: Any) -> str:
    """Domain, bus and device on PCI, as NVML writes them; empty where torch does not tell."""
    try:
        return f"{properties.pci_domain_id:08X}:{properties.pci_bus_id:02X}:{properties.pci_device_id:02X}.0"
    except (AttributeError, TypeError, ValueError):
        return ""


def _board_of(nvml: Any, handle: Any) -> Any:
    """The handle of the board that a MIG part belongs to; None where the handle is that of a board."""
    try:
        is_part = nvml.nvmlDeviceIsMigDeviceHandle(handle)
        return nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(handle) if is_part else None
    except (nvml.NVMLError, AttributeError):
        return None


def _is_cut(nvml: Any, handle: Any) -> bool:
    """Whether a board is in MIG mode now."""
    try:
        return bool(nvml.nvmlDeviceGetMigMode(handle)[0])
    except (nvml.NVMLError, AttributeError):
        return False
