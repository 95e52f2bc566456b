"""The offset of an external meter's clock, by bursts of load at known times that its trace must show."""

from collections.abc import Sequence

import numpy as np

from intaglio.errors import require
from intaglio.meters.meter import MeterFailed
from intaglio.meters.power_trace import PowerTrace

LEAST_CORRELATION = 0.7
"""Least correlation of watts and bursts at which an offset is believed."""
STEPS = 10
"""Offsets that are tried within one interval of the trace."""
MOST_STEPS = 100_000

Bursts = Sequence[tuple[float, float]]


def offset_by_bursts(trace: PowerTrace, bursts: Bursts, most_s: float = 60.0) -> float:
    """Time in s to add to a trace's, so that its power rises and falls with bursts of load; sure to half an interval.

    `bursts` are beginning and end of each in s by this machine's clock, in order and apart, such as three of 5 s with
    unequal pauses. Offsets d up to `most_s` either way are tried; the one is taken whose correlation of
    watts(t) and on(t + d) over the rows is largest, within the bursts and as much time around them as one lasts. Rows
    that are missing do not count. Raises `MeterFailed` where no offset correlates by `LEAST_CORRELATION`, and
    `ValueError` for bursts out of order and for a trace of joules.
    """
    edges = np.array(bursts, dtype=float).reshape(-1)
    in_order = len(bursts) > 0 and bool(np.all(np.diff(edges) > 0))
    require(in_order, "bursts must be in order and apart, each with an end after its beginning")
    require(trace.is_power, f"{trace.source} holds joules; an alignment wants watts")
    interval = trace.interval_s
    count = int(most_s / interval * STEPS) + 1
    require(most_s > 0 and count <= MOST_STEPS, f"most_s must be above 0 s and at most {MOST_STEPS // STEPS} intervals")
    offsets = np.arange(-count, count + 1) * (interval / STEPS)
    found = np.array([_correlation(trace, edges, offset) for offset in offsets])
    if (best := float(found.max())) < LEAST_CORRELATION:
        raise MeterFailed(
            f"{trace.source} does not show the bursts (correlation {max(best, 0):.2f}); leave the machine idle between "
            "them, and log from before the first until after the last"
        )
    # Until a row crosses an edge an offset makes no difference; of the stretch that is best the middle is taken.
    return float(offsets[_plateau(found, int(found.argmax()))].mean())


def _correlation(trace: PowerTrace, edges: np.ndarray, offset: float) -> float:
    """Correlation of watts and bursts at one offset; -1 where the trace does not cover the bursts."""
    times = trace.times_s + offset
    margin = float(np.max(np.diff(edges)[::2]))
    if times[0] > edges[0] or times[-1] < edges[-1]:
        return -1.0
    near = (times > edges[0] - margin) & (times < edges[-1] + margin)
    on = np.searchsorted(edges, times[near], side="right") % 2
    watts = trace.values[near] - trace.values[near].mean()
    on = on - on.mean()
    spread = float(np.sqrt((watts @ watts) * (on @ on)))
    return float(watts @ on) / spread if spread > 0 else -1.0


def _plateau(values: np.ndarray, top: int) -> slice:
    """The neighbours of an index that are as large as it."""
    first = last = top
    while first > 0 and values[first - 1] >= values[top] - 1e-12:
        first -= 1
    while last + 1 < len(values) and values[last + 1] >= values[top] - 1e-12:
        last += 1
    return slice(first, last + 1)
