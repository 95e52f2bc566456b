"""A planted module of nvidia-ml-py, and torch's account of its devices."""

from ctypes import c_uint
from dataclasses import dataclass, field
from types import SimpleNamespace

UUID = "8f3c2a51-0b7d-4e6f-9a11-2233445566aa"
BUS = "00000000:3B:00.0"
BOARD, PART = object(), object()


class NVMLError(Exception):
    """The planted module's error."""


@dataclass
class PlantedNVML:
    """One board; what is None is not supported."""

    millijoules: list | None = None
    """Figures of the counter, one a call; the last one stays."""
    fields: dict = field(default_factory=dict)
    """(field, scope) -> mW."""
    plain: float | None = None
    """Plain power in mW."""
    capability: tuple = (7, 0)
    uuids: tuple = (f"GPU-{UUID}",)
    buses: tuple = (BUS,)
    mig: bool = False
    part_uuid: str = ""
    """UUID of a MIG part of the board."""
    pids: tuple | None = ()
    asked: list = field(default_factory=list)
    NVMLError = NVMLError
    NVML_FI_DEV_POWER_AVERAGE = 185
    NVML_FI_DEV_POWER_INSTANT = 186

    def nvmlDeviceGetHandleByUUID(self, uuid):
        self.asked.append(uuid)
        if uuid == self.part_uuid:
            return PART
        if uuid not in self.uuids:
            raise NVMLError("Not Found")
        return BOARD

    def nvmlDeviceGetHandleByPciBusId(self, bus):
        self.asked.append(bus)
        if bus not in self.buses:
            raise NVMLError("Not Found")
        return BOARD

    def nvmlDeviceIsMigDeviceHandle(self, handle):
        return c_uint(handle is PART)

    def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self, handle):
        if handle is not PART:
            raise NVMLError("Invalid Argument")
        return BOARD

    def nvmlDeviceGetMigMode(self, handle):
        if handle is not BOARD:
            raise NVMLError("Invalid Argument")
        return [int(self.mig), int(self.mig)]

    def nvmlDeviceGetComputeRunningProcesses(self, handle):
        if self.pids is None:
            raise NVMLError("Not Supported")
        return [SimpleNamespace(pid=pid) for pid in self.pids]

    def nvmlDeviceGetTotalEnergyConsumption(self, handle):
        if self.millijoules is None or handle is not BOARD:
            raise NVMLError("Not Supported")
        return self.millijoules.pop(0) if len(self.millijoules) > 1 else self.millijoules[0]

    def nvmlDeviceGetPowerUsage(self, handle):
        if self.plain is None or handle is not BOARD:
            raise NVMLError("Not Supported")
        return self.plain

    def nvmlDeviceGetCudaComputeCapability(self, handle):
        return self.capability

    def nvmlDeviceGetFieldValues(self, handle, asked):
        return [self._value(*one) for one in asked]

    def _value(self, number, scope):
        milliwatts = self.fields.get((number, scope))
        value = SimpleNamespace(uiVal=milliwatts or 0, dVal=-1.0, ulVal=-1, ullVal=-1, sllVal=-1)
        return SimpleNamespace(nvmlReturn=3 if milliwatts is None else 0, valueType=1, value=value)


def plant_device(monkeypatch, uuid=UUID, bus=(0, 0x3B, 0)):
    """Make torch tell this UUID and PCI domain, bus and device of every accelerator; None: it tells none."""
    told = {} if uuid is None else {"uuid": uuid}
    if bus is not None:
        told |= dict(zip(("pci_domain_id", "pci_bus_id", "pci_device_id"), bus, strict=True))
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda device: SimpleNamespace(**told))
