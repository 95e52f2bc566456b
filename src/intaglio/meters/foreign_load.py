"""`foreign_load`: the work of other processes on a device, which a measurement would take for its own."""

import os
import time
from pathlib import Path
from typing import Any

from intaglio.meters.meter import MeterFailed
from intaglio.meters.nvml import handle_of, load_nvml, processes_of
from intaglio.meters.process_time import cpu_seconds
from intaglio.meters.process_tree import others_among

MOST_BUSY = 0.25
"""Busy time of other processes, in cores, that a measurement on a processor bears."""
LOOK_S = 1.0
"""Time over which processors are looked at, in s."""
STAT = Path("/proc/stat")
IDLE = (3, 4)
"""Places of idle time and of waiting for a disk among the times of a processor."""
OWN_TIMES = 8
"""Times of a processor that count each moment once; those of guests are part of others."""


def foreign_load(device: str = "cpu", *, nvml: Any = None, stat: Path = STAT, look_s: float = LOOK_S) -> str:
    """Load of other processes on a device, in words; empty where it is at rest, and where that cannot be known.

    An accelerator of NVIDIA is at rest when no process computes on it that does not descend from this one; a processor
    when other processes keep it busy for less than a quarter of one core, over a second.

    Args:
        device: a torch device, such as `cpu` or `cuda:1`.
        nvml: the module of nvidia-ml-py, for tests; None loads it.
        stat: the kernel's times of the processors; systems without it tell nothing.
        look_s: how long a processor is looked at, in s.
    """
    if device.partition(":")[0] == "cuda":
        return _on_accelerator(device, nvml)
    busy = busy_of_others(stat, look_s)
    if busy is None or busy <= MOST_BUSY:
        return ""
    return f"other processes keep {busy:.2f} cores busy"


def busy_of_others(stat: Path = STAT, look_s: float = LOOK_S) -> float | None:
    """Busy time of all processes but this one and its ended children, in cores; None where the kernel does not tell."""
    before, own, began = _busy_s(stat), cpu_seconds(), time.monotonic()
    if before is None:
        return None
    time.sleep(look_s)
    after = _busy_s(stat)
    if after is None:
        return None
    others = (after - before) - (cpu_seconds() - own)
    return max(0.0, others) / (time.monotonic() - began)


def _busy_s(stat: Path) -> float | None:
    """Busy seconds of all processors since the start."""
    try:
        name, *times = stat.read_text().partition("\n")[0].split()
        counts = list(map(int, times[:OWN_TIMES]))
    except (OSError, ValueError):
        return None
    if name != "cpu" or len(counts) <= max(IDLE):
        return None
    return (sum(counts) - sum(counts[place] for place in IDLE)) / os.sysconf("SC_CLK_TCK")


def _on_accelerator(device: str, nvml: Any) -> str:
    try:
        nvml = nvml or load_nvml()
        pids = processes_of(nvml, handle_of(nvml, device))
    except MeterFailed:
        return ""
    return f"other processes compute on {device}" if others_among(pids) else ""
