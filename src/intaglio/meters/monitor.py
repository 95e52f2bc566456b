"""`EnergyMonitor`: named windows over several meters, which may nest; a context manager, a decorator, or two calls."""

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import ParamSpec, TypeVar

from intaglio.errors import IntaglioError
from intaglio.meters.domain import Domain
from intaglio.meters.meter import Meter, MeterFailed, MeterReading, WindowTooShort
from intaglio.meters.spent import Spent

LEAST_TICKS = 10.0
"""Ticks of a counter that a window must span: an unaligned window errs by a tick, with sd tick / (√6 · length)."""

P = ParamSpec("P")
T = TypeVar("T")


@dataclass
class EnergyWindow:
    """A window of work; `spent` is known when it has ended."""

    name: str
    spent: Spent | None = None


@dataclass
class EnergyMonitor:
    """Windows over the given meters.

    with EnergyMonitor(meters) as monitor, monitor.window("train") as train:
        ...
    train.spent.total()
    """

    meters: Sequence[Meter]
    least_ticks: float = LEAST_TICKS
    """Ticks of its slowest counter, at least, that a window must last; 0 takes any window."""
    _open: dict[str, dict[str, MeterReading]] = field(default_factory=dict, repr=False)
    _domains: dict[str, Domain] | None = field(default=None, repr=False)

    def domains(self) -> Mapping[str, Domain]:
        """Domains of all meters, by name. Raises `MeterFailed` where two meters give one name."""
        if self._domains is None:
            found: dict[str, Domain] = {}
            for meter in self.meters:
                own = meter.domains()
                if both := found.keys() & own.keys():
                    raise MeterFailed(f"two meters speak of {', '.join(sorted(both))}; take one of them")
                found |= own
            self._domains = found
        return self._domains

    def begin_window(self, name: str, *, sync: bool = True, restart: bool = False) -> None:
        """Begins a window; `sync` waits for the devices' queued work before the reading.

        Raises `ValueError` where the name is open, unless `restart`, and `MeterFailed`.
        """
        if name in self._open and not restart:
            raise ValueError(f"window {name!r} is open already; end it, or begin it with restart=True")
        self._open[name] = self._read(sync, outward=False)

    def end_window(self, name: str, *, sync: bool = True) -> Spent:
        """Ends a window: what was spent in it.

        Raises `ValueError` where none of this name is open, `MeterFailed`, and `WindowTooShort`.
        """
        before = self._opened(name)
        del self._open[name]
        return self._between(name, before, self._read(sync, outward=True), self.least_ticks)

    def cancel_window(self, name: str) -> None:
        """Forgets a window. Raises `ValueError` where none of this name is open."""
        self._opened(name)
        del self._open[name]

    def so_far(self, name: str) -> Spent:
        """Figures of an open window until now, however short; the window stays open.

        Raises `ValueError` where none of this name is open, and `MeterFailed`.
        """
        return self._between(name, self._opened(name), self._read(sync=False, outward=True), least_ticks=0.0)

    @contextmanager
    def window(self, name: str, *, sync: bool = True) -> Iterator[EnergyWindow]:
        """A window around a block; after an error in the block the window is cancelled and the error goes on."""
        window = EnergyWindow(name)
        self.begin_window(name, sync=sync)
        try:
            yield window
        except BaseException:
            self._open.pop(name, None)
            raise
        window.spent = self.end_window(name, sync=sync)

    def track(self, to: Callable[[str, Spent], object]) -> Callable[[Callable[P, T]], Callable[P, T]]:
        """A decorator: each call of the function is a window, given to `to` with the function's name.

        Raises `TypeError` for a coroutine or generator function, whose call returns before its work is done.
        """

        def decorate(function: Callable[P, T]) -> Callable[P, T]:
            name = name_of_work(function)

            @wraps(function)
            def tracked(*args: P.args, **kwargs: P.kwargs) -> T:
                own = self._free_name(name)
                with self.window(own) as window:
                    value = function(*args, **kwargs)
                if window.spent is not None:
                    to(name, window.spent)
                return value

            return tracked

        return decorate

    def close(self) -> None:
        """Forgets open windows and closes the meters."""
        self._open.clear()
        for meter in self.meters:
            with suppress(IntaglioError):
                meter.close()

    def __enter__(self) -> "EnergyMonitor":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _opened(self, name: str) -> dict[str, MeterReading]:
        if name not in self._open:
            raise ValueError(f"no window {name!r} is open; open are {', '.join(map(repr, self._open)) or 'none'}")
        return self._open[name]

    def _free_name(self, name: str) -> str:
        """A name that no open window has, for a function that calls itself."""
        depth = sum(one == name or one.startswith(f"{name} (") for one in self._open)
        return name if depth == 0 else f"{name} ({depth + 1})"

    def _read(self, sync: bool, outward: bool) -> dict[str, MeterReading]:
        """A reading of each meter; the fast ones lie closest to the work."""
        if sync:
            for device in sorted({device for meter in self.meters for device in meter.devices}):
                synchronise(device)
        ordered = sorted(self.meters, key=lambda meter: meter.slow, reverse=not outward)
        return {meter.name: meter.read() for meter in ordered}

    def _between(
        self, name: str, before: Mapping[str, MeterReading], after: Mapping[str, MeterReading], least_ticks: float
    ) -> Spent:
        amounts: dict[str, float] = {}
        shared: set[str] = set()
        seconds = 0.0
        for meter in self.meters:
            first, last = before[meter.name], after[meter.name]
            seconds = last.time_s - first.time_s
            if first.breaks != last.breaks:
                raise MeterFailed(f"window {name!r} has a gap: {last.why_broken or f'{meter.name} was interrupted'}")
            shared |= first.shared | last.shared
            least = least_ticks * (meter.tick_s or 0.0)
            if seconds < least:
                raise WindowTooShort(
                    f"window {name!r} lasted {seconds:.3g} s, and {meter.name} resolves no less than {least:.3g} s; "
                    "repeat the work within the window"
                )
            for domain, amount in last.amounts.items():
                if domain not in first.amounts:
                    raise MeterFailed(f"{meter.name} began to speak of {domain} within window {name!r}")
                amounts[domain] = amount - first.amounts[domain]
                if amounts[domain] < 0:
                    raise MeterFailed(f"{domain} of {meter.name} fell within window {name!r}: its counter was reset")
        if lost := self.domains().keys() - amounts.keys():
            raise MeterFailed(f"no figure of {', '.join(sorted(lost))} in window {name!r}")
        domains = {domain: self.domains()[domain] for domain in amounts}
        domains |= {domain: replace(domains[domain], shared=True) for domain in shared & domains.keys()}
        return Spent(seconds, amounts, domains)


def name_of_work(function: Callable[..., object]) -> str:
    """The name of a function whose calls can be windows.

    Raises `TypeError` for a coroutine or generator function, whose call returns before its work is done.
    """
    name = getattr(function, "__qualname__", str(function))
    early = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    if any(returns_early(function) for returns_early in early):
        raise TypeError(f"{name} returns before its work is done; open a window inside of it")
    return name


def synchronise(device: str) -> None:
    """Waits until a torch device's queued work has ended; nothing to wait for where torch was not imported."""
    torch = sys.modules.get("torch")
    kind = device.partition(":")[0]
    if torch is not None and kind in ("cuda", "mps", "xpu"):
        backend = getattr(torch, kind)
        backend.synchronize() if kind == "mps" else backend.synchronize(device)
