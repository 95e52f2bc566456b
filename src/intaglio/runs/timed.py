"""Seconds of a call on a device, timed once it is warm."""

import time
from collections.abc import Callable

import torch


def seconds_of(call: Callable[[], object], device: torch.device | str) -> float:
    """Seconds of the second of two calls; the first fills caches. A device that works on its own is waited for."""
    call()
    _wait(device)
    began = time.perf_counter()
    call()
    _wait(device)
    return time.perf_counter() - began


def _wait(device: torch.device | str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
