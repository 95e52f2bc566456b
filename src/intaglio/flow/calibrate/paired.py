"""Times of two decodings by turns: what else the machine does meanwhile meets both, and their ratio stays."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from scipy.stats import quantile_test

CONFIDENCE = 0.95
"""Confidence of the lower bound of a gain."""


def seconds_of(call: Callable[[], Any], device: torch.device) -> float:
    """Wall time of a call, with all that it left to the device."""
    _wait(device)
    began = time.perf_counter()
    call()
    _wait(device)
    return time.perf_counter() - began


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def paired_seconds(
    one: Callable[[], Any], other: Callable[[], Any], turns: int, device: torch.device
) -> list[tuple[float, float]]:
    """Seconds of both calls, once a turn; which of them goes first alternates."""
    pairs = []
    for turn in range(turns):
        calls = (one, other) if turn % 2 == 0 else (other, one)
        times = [seconds_of(call, device) for call in calls]
        pairs.append((times[0], times[1]) if turn % 2 == 0 else (times[1], times[0]))
    return pairs


def gains(pairs: Sequence[tuple[float, float]]) -> list[float]:
    """Time of the second call over that of the first, pair by pair: above 1 the first is faster."""
    return [other / one for one, other in pairs]


def median_gain(ratios: Sequence[float]) -> float:
    """Median of gains."""
    return statistics.median(ratios)


def sure_gain(ratios: Sequence[float]) -> float:
    """Lower bound of the median gain at `CONFIDENCE`, by order statistics; 0 for too few ratios to bound it."""
    found = quantile_test(ratios, q=1, p=0.5, alternative="greater").confidence_interval(CONFIDENCE).low
    return max(0.0, float(found)) if found == found else 0.0
