"""`JetsonRails`: the supply rails of NVIDIA Jetson boards, by their INA3221 sensors as Linux shows them."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain, count
from pathlib import Path

from intaglio.meters.domain import Domain, Provenance, Scope
from intaglio.meters.meter import Availability, MeterFailed, MeterReading
from intaglio.meters.polled_power import PolledPower

ROOT = Path("/sys/bus/i2c/drivers")
EVERY_S = 0.1
CHANNELS = range(1, 4)
"""Channels of a sensor; what Linux numbers beyond them are sums of these."""
INPUTS = ("VDD_IN", "5V_IN")
"""Endings of the names of rails that feed the whole module."""
REMEDY = "let your user read it, by a udev rule; nothing is changed here"


@dataclass(frozen=True)
class _Rail:
    """One channel of a sensor."""

    label: str
    """The rail's name, as the board's device tree gives it."""
    sensor: str
    """Address of the sensor on its bus, such as `1-0040`."""
    watts: Callable[[], float]
    """The power now, in W. Raises `MeterFailed`."""


@dataclass
class JetsonRails:
    """Power of each rail in W, from volts and amperes or as it stands, integrated over time.

    Rails keep the names that the board gives them: one that feeds several parts, such as `VDD_CPU_GPU_CV`, is none of
    them. The input of the module contains the others, and not the carrier board beneath the module.
    """

    root: Path = ROOT
    name: str = "jetson"
    slow: bool = True
    devices: tuple[str, ...] = ()
    every_s: float = EVERY_S
    """Time between two samples, in s, above 0."""
    _rails: dict[str, _Rail] = field(default_factory=dict, repr=False)
    _polled: PolledPower = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._polled = PolledPower(self.name, self._watts, self.every_s)

    @property
    def tick_s(self) -> float | None:
        return self.every_s

    def available(self) -> Availability:
        try:
            rails = _named(_rails_below(self.root))
            for rail in rails.values():
                rail.watts()
        except _NotPermitted as error:
            return Availability("no-permission", str(error))
        except MeterFailed as error:
            return Availability("unsupported", str(error))
        if not rails:
            return Availability("unsupported", f"no INA3221 sensor below {self.root}, as Jetson boards have")
        return Availability("ok")

    def domains(self) -> Mapping[str, Domain]:
        names = {name: rail.label.endswith(INPUTS) for name, rail in self._opened().items()}
        inputs = frozenset(name for name, is_input in names.items() if is_input)
        plain = {name: Domain(name, Scope.CHIP, Provenance.SAMPLED, self.name, inside=inputs) for name in names}
        return plain | {name: replace(plain[name], scope=Scope.SYSTEM, inside=frozenset()) for name in inputs}

    def read(self) -> MeterReading:
        return self._polled.read()

    def close(self) -> None:
        self._polled.close()
        self._rails = {}

    def _opened(self) -> Mapping[str, _Rail]:
        if not self._rails:
            self._rails = _named(_rails_below(self.root))
            if not self._rails:
                raise MeterFailed(f"no INA3221 sensor can be read below {self.root}")
        return self._rails

    def _watts(self) -> Mapping[str, float]:
        return {name: rail.watts() for name, rail in self._opened().items()}


class _NotPermitted(MeterFailed):
    """A file of a sensor that only root may read."""


def _named(rails: Iterator[_Rail]) -> dict[str, _Rail]:
    """Rails by the name of their domain: `rail:` and the label, with the sensor where two have one label."""
    found = list(rails)
    labels = Counter(rail.label for rail in found)
    names: dict[str, _Rail] = {}
    for rail in found:
        name = f"rail:{rail.label}" + (f"@{rail.sensor}" if labels[rail.label] > 1 else "")
        names[next(one for one in chain([name], (f"{name}#{k}" for k in count(2))) if one not in names)] = rail
    return names


def _rails_below(root: Path) -> Iterator[_Rail]:
    """Connected channels of every sensor, under the names of Linux's own driver or of NVIDIA's older one."""
    for folder in sorted(root.glob("ina3221*/*/hwmon/hwmon*")):
        for channel in CHANNELS:
            if (label := _label(folder / f"in{channel}_label")) and _is_on(folder / f"in{channel}_enable"):
                yield _Rail(label, folder.parents[1].name, _volts_times_amperes(folder, channel))
    for folder in sorted(root.glob("ina3221*/*/iio*device*")):
        for channel in CHANNELS:
            if label := _label(folder / f"rail_name_{channel - 1}"):
                yield _Rail(label, folder.parent.name, _stated(folder / f"in_power{channel - 1}_input"))


def _volts_times_amperes(folder: Path, channel: int) -> Callable[[], float]:
    volts, amperes = folder / f"in{channel}_input", folder / f"curr{channel}_input"
    return lambda: _milli(volts) * _milli(amperes)


def _stated(path: Path) -> Callable[[], float]:
    return lambda: _milli(path)


def _label(path: Path) -> str:
    """The name of a rail; empty for a channel that is not there or not connected."""
    try:
        label = path.read_text(errors="replace").strip()
    except PermissionError:
        raise _NotPermitted(f"{path} may be read by root only; {REMEDY}") from None
    except OSError:
        return ""
    return "" if label.upper() in ("NC", "N/A") else label


def _is_on(path: Path) -> bool:
    """Whether a channel measures; one without a switch does."""
    try:
        return path.read_text().strip() != "0"
    except OSError:
        return True


def _milli(path: Path) -> float:
    """A file in mV, mA or mW as V, A or W. Raises `MeterFailed`."""
    try:
        return int(path.read_text()) * 1e-3
    except PermissionError:
        raise _NotPermitted(f"{path} may be read by root only; {REMEDY}") from None
    except (OSError, ValueError) as error:
        raise MeterFailed(f"{path} gave no number: {error}") from None
