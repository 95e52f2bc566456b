"""`PolledPower`: joules of a source that tells only its power, polled by a thread and integrated."""

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from intaglio.errors import require
from intaglio.meters.meter import MeterFailed, MeterReading

LEAST_GAP_S = 1.0
GAP_INTERVALS = 10.0
"""Time between two samples that is still integrated: this many intervals, and at least `LEAST_GAP_S`."""
JOIN_S = 1.0
"""Longest wait for the thread's last sample when it is closed, in s."""

Watts = Mapping[str, float]


@dataclass
class PolledPower:
    """The integral of watts over time by the trapezoid rule, sample after sample, for each domain.

    E(t_k) = E(t_{k-1}) + (t_k - t_{k-1}) (P_k + P_{k-1}) / 2, in J. A daemon thread samples from the first `read` on,
    and each `read` is a sample too, so that a window begins and ends with one. Samples further apart than
    `longest_gap_s` are not joined: the time between them counts as a break, which fails the window that holds it
    (`MeterReading.breaks`).
    """

    meter: str
    """Name of the meter, for errors."""
    watts: Callable[[], Watts]
    """The power of each domain now, in W. Raises `MeterFailed`; what the thread meets is skipped and leaves a gap."""
    every_s: float
    """Time between two samples of the thread, in s, above 0."""
    clock: Callable[[], float] = time.monotonic
    """The present moment in s."""
    threaded: bool = True
    """Whether a thread samples; without one, only `read` does."""
    _joules: dict[str, float] = field(default_factory=dict, repr=False)
    _last: tuple[float, Watts] | None = field(default=None, repr=False)
    _breaks: int = field(default=0, repr=False)
    _why: str = field(default="", repr=False)
    _fault: str = field(default="", repr=False)
    _pid: int = field(default=0, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _stop: threading.Event = field(default_factory=threading.Event, repr=False)
    _thread: threading.Thread | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        require(0 < self.every_s < float("inf"), f"every_s must be a time above 0 s, not {self.every_s}")

    @property
    def longest_gap_s(self) -> float:
        """Longest time between two samples that are joined, in s."""
        return max(LEAST_GAP_S, GAP_INTERVALS * self.every_s)

    def read(self) -> MeterReading:
        """A sample now, and the joules since the first. Raises `MeterFailed`, also in a process forked since then."""
        if self._pid not in (0, os.getpid()):
            raise MeterFailed(f"{self.meter} was opened before this process was forked; close it here, and read again")
        with self._lock:
            self._sample()
            self._begin()
            moment = self._last[0] if self._last else self.clock()
            return MeterReading(moment, dict(self._joules), breaks=self._breaks, why_broken=self._why)

    def close(self) -> None:
        """Ends the thread and forgets the joules; a later `read` begins again at 0."""
        forked = self._pid not in (0, os.getpid())
        self._stop.set()
        if self._thread is not None and not forked:
            self._thread.join(JOIN_S)
        # A lock that the thread held while the process was forked is held for ever in the child.
        self._lock, self._stop, self._thread = threading.Lock(), threading.Event(), None
        self._joules, self._last, self._breaks, self._why, self._fault, self._pid = {}, None, 0, "", "", 0

    def _begin(self) -> None:
        if self._pid == 0:
            self._pid = os.getpid()
            if self.threaded:
                self._thread = threading.Thread(target=self._poll, args=(self._stop, self._lock), daemon=True)
                self._thread.start()

    def _poll(self, stop: threading.Event, lock: threading.Lock) -> None:
        while not stop.wait(self.every_s):
            with lock:
                if stop.is_set():
                    return
                try:
                    self._sample()
                except MeterFailed as error:
                    self._fault = str(error)

    def _sample(self) -> None:
        """Reads the watts and joins them to the sample before. Raises `MeterFailed`."""
        watts = self.watts()
        now = self.clock()
        if self._last is None:
            self._joules = dict.fromkeys(watts, 0.0)
        elif watts.keys() != self._joules.keys():
            changed = ", ".join(sorted(watts.keys() ^ self._joules.keys()))
            raise MeterFailed(f"{self.meter} began or ceased to speak of {changed}; close it, and read again")
        else:
            self._join(now, watts)
        self._last, self._fault = (now, watts), ""

    def _join(self, now: float, watts: Watts) -> None:
        then, before = self._last or (now, watts)
        if (gap := now - then) > self.longest_gap_s:
            cause = f" ({self._fault})" if self._fault else ""
            self._breaks += 1
            self._why = f"{self.meter} gave no sample for {gap:.3g} s{cause}, and what it drew then is not guessed"
            return
        for name in self._joules:
            self._joules[name] += 0.5 * gap * (before[name] + watts[name])
