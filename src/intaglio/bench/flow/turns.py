"""Timing by turns: calls that take their turns share what else the machine does meanwhile."""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from intaglio.flow.calibrate.paired import seconds_of

SLOW, FEW = 2.5, 3
"""A call that takes more than so many times as long as the one compared with is timed so many times at most."""


def by_turns(
    calls: Mapping[str, Callable[[], Any]], repeats: int, beside: str, device: torch.device
) -> dict[str, list[float]]:
    """Wall seconds of every call, by name: as many timings as asked for, the order rotated by one each turn.

    A first turn is not counted. What takes more than `SLOW` times as long as the call `beside` is no contender, and is
    timed `FEW` times at most.
    """
    names = list(calls)
    times: dict[str, list[float]] = {name: [] for name in names}
    warm: dict[str, float] = {}
    for turn in range(repeats + 1):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            if len(times[name]) >= FEW and warm[name] > SLOW * warm[beside]:
                continue
            seconds = seconds_of(calls[name], device)
            if turn:
                times[name].append(seconds)
            else:
                warm[name] = seconds
    return times
