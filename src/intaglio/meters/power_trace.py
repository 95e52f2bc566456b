"""`PowerTrace`: watts or joules of the whole machine over time, by an external meter, and the joules of a window."""

from dataclasses import dataclass

import numpy as np

from intaglio.meters.domain import Domain, Provenance, Scope
from intaglio.meters.meter import MeterFailed, WindowTooShort
from intaglio.meters.monitor import LEAST_TICKS
from intaglio.meters.spent import Spent

WALL = Domain("wall", Scope.WALL, Provenance.EXTERNAL, "csv-trace")
GAP_INTERVALS = 5.0
"""Longest time between two rows within a window, in median intervals of the trace."""


class TraceBehind(MeterFailed):
    """A trace that ends before the window does; its logger may be about to write on."""


@dataclass(frozen=True)
class PowerTrace:
    """The rows of a trace, in the machine's time."""

    source: str
    times_s: np.ndarray
    """Float64 [N], s since 1970 by this machine's clock, rising."""
    values: np.ndarray
    """Float64 [N], W, or J since some beginning."""
    is_power: bool

    @property
    def interval_s(self) -> float:
        """Median time between two rows, in s. Raises `TraceBehind` for fewer than three rows."""
        if len(self.times_s) < 3:
            raise TraceBehind(f"{self.source} has {len(self.times_s)} rows; a window wants three or more")
        return float(np.median(np.diff(self.times_s)))

    def spent(self, begin_s: float, end_s: float) -> Spent:
        """Joules of the machine from one moment to another, both in s since 1970: domain `wall`.

        Power is integrated by the trapezoid rule, with values between rows by straight lines. Raises `TraceBehind`
        where the trace ends before the window, `MeterFailed` where it begins after it, has a gap within it or falls,
        and `WindowTooShort` below ten intervals.
        """
        self._check(begin_s, end_s)
        ends = np.interp((begin_s, end_s), self.times_s, self.values)
        if not self.is_power:
            if np.any(np.diff(self.values[self._around(begin_s, end_s)]) < 0):
                raise MeterFailed(f"the joules in {self.source} fall within the window: the meter was reset")
            return _wall(end_s - begin_s, float(ends[1] - ends[0]))
        inner = (self.times_s > begin_s) & (self.times_s < end_s)
        times = np.concatenate(([begin_s], self.times_s[inner], [end_s]))
        watts = np.concatenate((ends[:1], self.values[inner], ends[1:]))
        return _wall(end_s - begin_s, float(np.trapezoid(watts, times)))

    def _check(self, begin_s: float, end_s: float) -> None:
        interval = self.interval_s
        if self.times_s[0] > begin_s:
            raise MeterFailed(
                f"{self.source} begins {self.times_s[0] - begin_s:.3g} s after the window; begin to log earlier, or "
                "state the offset of its clock or its time zone"
            )
        if self.times_s[-1] < end_s:
            raise TraceBehind(
                f"{self.source} ends {end_s - self.times_s[-1]:.3g} s before the window does; log for longer, or "
                "state the offset of its clock or its time zone"
            )
        if end_s - begin_s < LEAST_TICKS * interval:
            raise WindowTooShort(
                f"the window lasted {end_s - begin_s:.3g} s, and {self.source} with a row every {interval:.3g} s "
                f"resolves no less than {LEAST_TICKS * interval:.3g} s; repeat the work within the window"
            )
        longest = float(np.diff(self.times_s[self._around(begin_s, end_s)]).max())
        if longest > GAP_INTERVALS * interval:
            raise MeterFailed(f"{self.source} has a gap of {longest:.3g} s within the window, and it is not bridged")

    def _around(self, begin_s: float, end_s: float) -> slice:
        """The rows of a window, from the last before it to the first after it."""
        first = int(np.searchsorted(self.times_s, begin_s, side="right")) - 1
        return slice(max(first, 0), int(np.searchsorted(self.times_s, end_s, side="left")) + 1)


def _wall(seconds: float, joules: float) -> Spent:
    return Spent(seconds, {WALL.name: joules}, {WALL.name: WALL})
