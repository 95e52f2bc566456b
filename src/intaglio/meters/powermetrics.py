"""`PowerMetrics`: Apple's estimates of the power of processor, graphics and neural engine, by its own program."""

import math
import os
import plistlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from xml.parsers.expat import ExpatError

from intaglio.errors import require
from intaglio.meters.domain import Domain, Provenance, Scope
from intaglio.meters.meter import Availability, MeterFailed, MeterReading
from intaglio.meters.polled_power import PolledPower

PROGRAM = "powermetrics"
PARTS = ("cpu", "gpu", "ane")
"""Parts of the chip, as the program's figures begin; `ane` is the neural engine."""
PAUSE_S = 0.2
"""Time between two calls of the program, in s."""
GRACE_S = 10.0
"""Time that the program may take beyond its interval, in s."""

Run = Callable[[Sequence[str], float], bytes]


def run_program(words: Sequence[str], timeout_s: float) -> bytes:
    """The output of a program. Raises `MeterFailed` where it fails, is missing, or takes longer."""
    try:
        return subprocess.run(words, capture_output=True, check=True, timeout=timeout_s).stdout
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip() or "no reason given"
        raise MeterFailed(f"{words[0]} ended with exit code {error.returncode}: {said}") from None
    except subprocess.TimeoutExpired:
        raise MeterFailed(f"{words[0]} gave nothing within {timeout_s:g} s") from None
    except OSError as error:
        raise MeterFailed(f"{words[0]} cannot be run: {error.strerror}") from None


@dataclass
class PowerMetrics:
    """Apple's estimate of the power of each part of the chip in W, integrated over time.

    The program wants root. Its manual calls the figures estimates, unfit for comparing devices, so they are never added
    to measured ones. A reading takes as long as an interval of the program, which is started by readings only.
    """

    name: str = "powermetrics"
    slow: bool = True
    devices: tuple[str, ...] = ("mps",)
    interval_s: float = 0.5
    """Time over which the program takes a mean, in s, 0.2 to 1."""
    run: Run = run_program
    """Runs the program; another for tests."""
    _polled: PolledPower = field(init=False, repr=False)

    def __post_init__(self) -> None:
        require(0.2 <= self.interval_s <= 1, f"interval_s must be in [0.2, 1] s, not {self.interval_s}")
        self._polled = PolledPower(self.name, self._watts, PAUSE_S)

    @property
    def tick_s(self) -> float | None:
        return self.interval_s

    def available(self) -> Availability:
        if sys.platform != "darwin" or shutil.which(PROGRAM) is None:
            return Availability("unsupported", f"no program {PROGRAM}, which macOS has")
        if os.geteuid() != 0:
            return Availability("no-permission", f"{PROGRAM} may be run by root only; run the command by sudo")
        return Availability("ok")

    def domains(self) -> Mapping[str, Domain]:
        if not (found := self.available()):
            raise MeterFailed(found.why)
        names = [f"apple:{part}" for part in PARTS]
        return {name: Domain(name, Scope.CHIP, Provenance.VENDOR_ESTIMATE, self.name) for name in names}

    def read(self) -> MeterReading:
        return self._polled.read()

    def close(self) -> None:
        self._polled.close()

    def _watts(self) -> Mapping[str, float]:
        samplers = ",".join(f"{part}_power" for part in PARTS)
        milliseconds = str(round(1000 * self.interval_s))
        words = [PROGRAM, "-n", "1", "-i", milliseconds, "--samplers", samplers, "-f", "plist"]
        return watts_of(self.run(words, self.interval_s + GRACE_S))


def watts_of(output: bytes) -> dict[str, float]:
    """Mean power of each part in W, by domain, of one property list of the program.

    Powers are in mW; a version that tells only energies tells them in mJ over `elapsed_ns`. Raises `MeterFailed` for
    what is no such list, and for a part that it does not tell.
    """
    try:
        told = plistlib.loads(output.strip(b"\0\n "))
    except (plistlib.InvalidFileException, ExpatError, ValueError, IndexError) as error:
        raise MeterFailed(f"{PROGRAM} gave no property list: {error}") from None
    if not isinstance(told, dict):
        raise MeterFailed(f"{PROGRAM} gave no table of figures")
    tables = [table for table in (told.get("processor"), told.get("gpu"), told) if isinstance(table, dict)]
    return {f"apple:{part}": _watts_of_part(part, tables, told.get("elapsed_ns")) for part in PARTS}


def _watts_of_part(part: str, tables: Sequence[dict[str, Any]], elapsed_ns: Any) -> float:
    if (milliwatts := _figure(tables, f"{part}_power")) is not None:
        return milliwatts * 1e-3
    millijoules = _figure(tables, f"{part}_energy")
    if millijoules is None or not isinstance(elapsed_ns, int) or elapsed_ns <= 0:
        raise MeterFailed(f"{PROGRAM} told no power of {part}; its chip may not be Apple's own")
    return millijoules * 1e6 / elapsed_ns


def _figure(tables: Sequence[dict[str, Any]], name: str) -> float | None:
    """The first finite number of at least 0 of this name; None where there is none."""
    figures = (table.get(name) for table in tables)
    return next((float(one) for one in figures if isinstance(one, int | float) and 0 <= one < math.inf), None)
