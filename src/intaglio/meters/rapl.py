"""`RAPL`: the energy counters of x86 processors, as Linux shows them below /sys/class/powercap."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from intaglio.meters.domain import Domain, Provenance, Scope
from intaglio.meters.meter import Availability, MeterFailed, MeterReading

ROOT = Path("/sys/class/powercap")
MOST_WATTS = 1000.0
"""A power that no package exceeds, by which a counter's range tells how often it must be read."""
LEAST_POLL_S = 0.05
MIRROR_POLLS, MIRROR_POLL_S = 5, 0.01
"""Readings, and s between them, over which two packages that grow alike are taken for one counter shown twice."""
SCOPES = {
    "psys": Scope.SYSTEM,
    "package": Scope.CPU_PACKAGE,
    "core": Scope.CPU_PART,
    "uncore": Scope.CPU_PART,
    "dram": Scope.MEMORY,
}
REMEDY = (
    "let your user read it, by a udev rule or `sudo chmod g+r` with a group of yours on energy_uj, or mount it "
    "read-only into the container; nothing is changed here"
)


@dataclass
class _Zone:
    """One counter, unwrapped: its file counts microjoules up to a range and begins again."""

    path: Path
    name: str
    range_uj: int
    last_uj: int | None = None
    total_uj: int = 0
    last_s: float = 0.0

    @property
    def polled_s(self) -> float:
        """Longest time between two readings, within which the counter cannot wrap twice."""
        return min(60.0, max(LEAST_POLL_S, 0.25 * self.range_uj * 1e-6 / MOST_WATTS))

    def advance(self, now: float) -> None:
        """Reads the counter. Raises `MeterFailed`."""
        found = _number(self.path / "energy_uj")
        if self.last_uj is not None:
            if now - self.last_s > 4 * self.polled_s:
                raise MeterFailed(f"{self.name} was not read for {now - self.last_s:.0f} s, and may have wrapped twice")
            self.total_uj += (found - self.last_uj) % self.range_uj
        self.last_uj, self.last_s = found, now


@dataclass
class RAPL:
    """Counters of packages and what is in them; every process on the package counts.

    A zone that `intel-rapl-mmio` repeats, and one whose counter mirrors another's, is left out.
    """

    root: Path = ROOT
    name: str = "rapl"
    slow: bool = False
    devices: tuple[str, ...] = ()
    tick_s: float | None = 0.001
    """Time between two updates of the counters, in s."""
    _zones: dict[str, _Zone] | None = field(default=None, repr=False)
    _covered: dict[str, Domain] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _stop: threading.Event = field(default_factory=threading.Event, repr=False)
    _fault: MeterFailed | None = field(default=None, repr=False)

    def available(self) -> Availability:
        paths = _zone_paths(self.root)
        if not paths:
            return Availability("unsupported", f"no RAPL counter below {self.root}, as in most virtual machines")
        try:
            for path in paths:
                _number(path / "energy_uj")
        except MeterFailed as error:
            return Availability("no-permission", str(error))
        return Availability("ok")

    def domains(self) -> Mapping[str, Domain]:
        self._opened()
        return self._covered

    def read(self) -> MeterReading:
        with self._lock:
            zones = self._opened()
            if self._fault is not None:
                raise self._fault
            now = time.monotonic()
            for zone in zones.values():
                zone.advance(now)
            return MeterReading(now, {name: zone.total_uj * 1e-6 for name, zone in zones.items()})

    def close(self) -> None:
        self._stop.set()
        self._zones, self._fault, self._stop = None, None, threading.Event()

    def _opened(self) -> dict[str, _Zone]:
        if self._zones is None:
            self._zones, self._covered = _without_mirrors(*_found(self.root, self.name))
            if not self._zones:
                raise MeterFailed(f"no RAPL counter can be read below {self.root}")
            polled = min(zone.polled_s for zone in self._zones.values())
            threading.Thread(target=self._poll, args=(polled, self._stop), daemon=True).start()
        return self._zones

    def _poll(self, every_s: float, stop: threading.Event) -> None:
        """Reads now and then, so that no wrap is missed within a long window; a fault is raised at the next reading."""
        while not stop.wait(every_s):
            try:
                with self._lock:
                    for zone in (self._zones or {}).values():
                        zone.advance(time.monotonic())
            except MeterFailed as error:
                self._fault = error
                return


def _zone_paths(root: Path) -> list[Path]:
    """Folders with a counter; those that repeat the same hardware through memory-mapped registers are left out."""
    paths = sorted(path for path in root.glob("intel-rapl*") if (path / "energy_uj").exists())
    plain = [path for path in paths if "mmio" not in path.name]
    return plain or paths


def _found(root: Path, meter: str) -> tuple[dict[str, _Zone], dict[str, Domain]]:
    """The zones by domain, and the domains. `intel-rapl:0:1` lies inside `intel-rapl:0`; all lie inside `psys`."""
    labels = {path.name: (path / "name").read_text().strip() for path in _zone_paths(root)}
    names = {zone: _domain_name(zone, labels) for zone in labels}
    system = {names[zone] for zone, label in labels.items() if label == "psys"}
    zones, domains = {}, {}
    for zone, label in labels.items():
        kind, name, parent = label.partition("-")[0], names[zone], zone.rpartition(":")[0]
        inside = {names[parent]} if parent in names and kind != "dram" else set()
        # Memory is listed below its package and is not part of the package's figure.
        inside |= system - {name}
        zones[name] = _Zone(root / zone, name, _number(root / zone / "max_energy_range_uj"))
        domains[name] = Domain(
            name, SCOPES.get(kind, Scope.CPU_PART), Provenance.COUNTER, meter, inside=frozenset(inside)
        )
    return zones, domains


def _without_mirrors(zones: dict[str, _Zone], domains: dict[str, Domain]) -> tuple[dict[str, _Zone], dict[str, Domain]]:
    """Without packages, and what is in them, whose counter grows exactly as that of an earlier one."""
    packages = [name for name, domain in domains.items() if domain.scope is Scope.CPU_PACKAGE]
    if len(packages) < 2:
        return zones, domains
    polls = []
    for _ in range(MIRROR_POLLS):
        polls.append([_number(zones[name].path / "energy_uj") for name in packages])
        time.sleep(MIRROR_POLL_S)
    growth = [tuple(b[k] - a[k] for a, b in pairwise(polls)) for k in range(len(packages))]
    mirrors = {name for k, name in enumerate(packages) if any(growth[k]) and growth[k] in growth[:k]}
    kept = [name for name, domain in domains.items() if name not in mirrors and not domain.inside & mirrors]
    return {name: zones[name] for name in kept}, {name: domains[name] for name in kept}


def _domain_name(zone: str, labels: Mapping[str, str]) -> str:
    """`cpu-package:0`, `cpu-core:0`, `memory:0`, or `psys`; the number is the package's."""
    label, package = labels[zone], zone.rpartition(":")[0]
    kind, _, number = label.partition("-")
    if kind == "psys":
        return "psys"
    number = number or labels.get(package, "").partition("-")[2] or zone.split(":")[1]
    return f"{'memory' if kind == 'dram' else f'cpu-{kind}'}:{number}"


def _number(path: Path) -> int:
    """The whole number in a counter's file. Raises `MeterFailed`."""
    try:
        return int(path.read_text())
    except PermissionError:
        raise MeterFailed(f"{path} may be read by root only; {REMEDY}") from None
    except (OSError, ValueError) as error:
        raise MeterFailed(f"{path} gave no number: {error}") from None
