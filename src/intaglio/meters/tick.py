"""The tick of a counter: how long it stands still between two changes, measured."""

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from statistics import median

from intaglio.meters.meter import Meter, MeterFailed

SECONDS, EVERY_S = 2.0, 0.002


def tick_of(
    meter: Meter,
    seconds: float = SECONDS,
    every_s: float = EVERY_S,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> float:
    """The median time in s between two changes of a meter's figures, of its slowest domain; best under load.

    The meter is read every `every_s`, for `seconds`: changes that are closer than that are seen as `every_s` apart. A
    domain that never changes beside others that do, such as an idle part of a processor, is left out. Raises
    `MeterFailed` where none changes twice, for such a counter tells nothing.
    """
    polls: list[tuple[float, Mapping[str, float]]] = []
    end = clock() + seconds
    while not polls or clock() < end:
        reading = meter.read()
        polls.append((reading.time_s, reading.amounts))
        sleep(every_s)
    changes = {name: _changes(polls, name) for name in polls[0][1]}
    gaps = [median(b - a for a, b in pairwise(times)) for times in changes.values() if len(times) > 1]
    if not gaps:
        raise MeterFailed(f"counter unusable: {meter.name} did not change twice in {seconds:g} s; measure under load")
    return max(gaps)


def _changes(polls: Sequence[tuple[float, Mapping[str, float]]], name: str) -> list[float]:
    """The moments in s at which a domain's figure differs from that before."""
    return [now for (_, before), (now, after) in pairwise(polls) if after[name] != before[name]]
