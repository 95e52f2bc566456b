"""Versions of libraries and facts of the machine, without importing the libraries."""

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from intaglio import __version__

LIBRARIES = ("torch", "diffusers", "transformers", "numpy", "safetensors", "pillow")


def versions() -> dict[str, str | None]:
    """Versions of Python, Intaglio and the libraries that decide numbers; None where one is not installed."""
    found: dict[str, str | None] = {"python": platform.python_version(), "intaglio": __version__}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def machine() -> dict[str, Any]:
    """Platform, processor's model and the number of cores that this process may use."""
    return {"platform": platform.platform(), "cpu": processor(), "cores": cores()}


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_bytes() -> int | None:
    """Bytes of memory of this machine; None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def processor() -> str:
    """The processor's model, as far as the system names it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.lower().startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
