"""`Fingerprint`: the facts of a machine and of a session that costs depend on, none of which tells whose it is."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from intaglio.errors import BadInput
from intaglio.meters.meter import MeterFailed
from intaglio.meters.nvml import handle_of, load_nvml
from intaglio.runs.machine import cores, memory_bytes, processor

GIGABYTE = 2**30
MODES = (
    "threads",
    "default_precision",
    "matmul_precision",
    "tf32_convolution",
    "deterministic",
    "autotuned",
    "attention",
)
"""Facts of a regime that choose kernels; the others are versions."""


@dataclass(frozen=True)
class Fingerprint:
    """A device, and the regime of its work, as an `EnergyProfile` keeps them."""

    device: Mapping[str, Any]
    """`model` (the vendor's name), `kind` (`cpu`, `cuda` ...), `memory_gb` (in units of 2^30 bytes, rounded) and
    `cores` that a process may use; of an NVIDIA accelerator also `compute_capability`, `driver_major` and
    `power_limit_w`, and the `processor` that it works for. None: unknown."""
    regime: Mapping[str, Any]
    """`torch`, `cuda`, `cudnn` (versions), `system`, and the modes: `threads`, `default_precision`,
    `matmul_precision`, `tf32_convolution`, `deterministic`, `autotuned`, `attention` (kernels that are allowed)."""


def fingerprint(device: str = "cpu", nvml: Any = None) -> Fingerprint:
    """The facts of a torch device, such as `cpu` or `cuda:1`, and of this process as it is set now.

    Args:
        device: a torch device.
        nvml: the module of nvidia-ml-py, for tests; None loads it where the device is NVIDIA's.

    Raises:
        BadInput: torch does not know the device.
    """
    kind = device.partition(":")[0]
    facts = (
        _accelerator(device, nvml) if kind == "cuda" else {"model": processor(), "memory_gb": _rounded(memory_bytes())}
    )
    return Fingerprint({"kind": kind, "cores": cores(), **facts}, _regime())


def differences(there: Fingerprint, here: Fingerprint) -> dict[str, str]:
    """Facts of device and regime that differ, by name, each in words; one that only one side has differs too."""
    found: dict[str, str] = {}
    for one, other in ((there.device, here.device), (there.regime, here.regime)):
        for name in dict.fromkeys((*one, *other)):
            a, b = _plain(one.get(name)), _plain(other.get(name))
            if a != b:
                found[name] = f"{name.replace('_', ' ')} {_word(a)} there, {_word(b)} here"
    return found


def _accelerator(device: str, nvml: Any) -> dict[str, Any]:
    import torch

    try:
        found = torch.cuda.get_device_properties(device)
    except (AssertionError, RuntimeError) as error:
        raise BadInput(f"torch does not know {device}: {error}; name another device") from None
    return {
        "model": str(found.name),
        "memory_gb": _rounded(int(found.total_memory)),
        "compute_capability": f"{found.major}.{found.minor}",
        "processor": processor(),
        **_driver(device, nvml),
    }


def _driver(device: str, nvml: Any) -> dict[str, int | None]:
    """The driver's major version and the accelerator's power limit; None where the driver does not tell."""
    found: dict[str, int | None] = {"driver_major": None, "power_limit_w": None}
    try:
        nvml = nvml or load_nvml()
        version = nvml.nvmlSystemGetDriverVersion()
        version = version.decode() if isinstance(version, bytes) else str(version)
        found["driver_major"] = int(version.partition(".")[0])
        found["power_limit_w"] = round(nvml.nvmlDeviceGetPowerManagementLimit(handle_of(nvml, device)) / 1000)
    except (MeterFailed, ValueError):
        pass
    except Exception as error:
        if nvml is None or not isinstance(error, nvml.NVMLError):
            raise
    return found


def _regime() -> dict[str, Any]:
    import torch

    cudnn = torch.backends.cudnn.version()
    kernels = {
        "flash": torch.backends.cuda.flash_sdp_enabled(),
        "memory-efficient": torch.backends.cuda.mem_efficient_sdp_enabled(),
        "math": torch.backends.cuda.math_sdp_enabled(),
        "cudnn": torch.backends.cuda.cudnn_sdp_enabled(),
    }
    return {
        "torch": _minor(torch.__version__),
        "cuda": torch.version.cuda,
        "cudnn": None if cudnn is None else int(cudnn),
        "system": platform.system(),
        "threads": torch.get_num_threads(),
        "default_precision": str(torch.get_default_dtype()).removeprefix("torch."),
        "matmul_precision": torch.get_float32_matmul_precision(),
        "tf32_convolution": bool(torch.backends.cudnn.allow_tf32),
        "deterministic": bool(torch.are_deterministic_algorithms_enabled() or torch.backends.cudnn.deterministic),
        "autotuned": bool(torch.backends.cudnn.benchmark),
        "attention": [name for name, allowed in kernels.items() if allowed],
    }


def _minor(version: str) -> str:
    """Major and minor version, without a build."""
    return ".".join(version.partition("+")[0].split(".")[:2])


def _rounded(count: int | None) -> int | None:
    return None if count is None else max(1, round(count / GIGABYTE))


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _word(value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "on" if value else "off"
    return " and ".join(map(str, value)) or "none" if isinstance(value, list | tuple) else str(value)
