"""`CSVTrace`: watts or joules of the whole machine in a table that a logger of an external meter writes."""

import csv
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from intaglio.data_files import read_text
from intaglio.errors import BadInput, require
from intaglio.meters.power_trace import PowerTrace, TraceBehind
from intaglio.meters.spent import Spent
from intaglio.meters.trace_units import ENERGIES, POWERS, SECONDS, TimeUnit, TraceUnit

PATIENCE_S, LOOK_EVERY_S = 10.0, 0.5
"""Longest wait for a logger to write the end of a window, and the time between two looks, in s."""
COLUMNS = {"watts": "W", "joules": "J"}
"""Columns that are looked for where none is named, with their units."""


@dataclass(frozen=True)
class CSVTrace:
    """A CSV file of a meter outside the machine, with a header: a column of times, and one of watts or joules.

    Times are numbers since 1970, or ISO 8601; they must rise from row to row. Columns are parted by commas, semicolons
    or tabs. A last line without an end is taken for one that is being written, and left out.
    """

    path: Path
    time_column: str = "time"
    """Name of the column of times."""
    value_column: str = "auto"
    """Name of the column of power or energy; auto: `watts` or `joules`."""
    unit: TraceUnit = "auto"
    """Unit of the values; energies count on from row to row. auto: W for `watts`, J for `joules`."""
    time_unit: TimeUnit = "s"
    """Unit of times that are numbers."""
    zone: str = ""
    """Time zone of ISO times that state none, such as `UTC`, `+02:00` or `Europe/Berlin`."""
    offset_s: float = 0.0
    """Time that is added to those of the trace to make them this machine's, in s."""

    def __post_init__(self) -> None:
        known = [*POWERS, *ENERGIES]
        require(self.unit in ("auto", *known), f"unit must be auto or one of {', '.join(known)}, not {self.unit}")
        require(self.time_unit in SECONDS, f"time_unit must be one of {', '.join(SECONDS)}, not {self.time_unit}")
        require(math.isfinite(self.offset_s), f"offset_s must be a finite time in s, not {self.offset_s}")
        require(
            self.unit != "auto" or self.value_column in ("auto", *COLUMNS),
            f"the unit of the column {self.value_column} must be stated, such as W or Wh",
        )
        _zone(self.zone)

    def read(self) -> PowerTrace:
        """Rows of the file as it is now. Raises `BadInput`, which names the line."""
        text = read_text(self.path)
        lines = text[: text.rfind("\n") + 1].splitlines()
        if not lines:
            raise BadInput(f"{self.path} has no line yet; let the logger begin with a header")
        delimiter = max(",;\t", key=lines[0].count)
        try:
            header = [name.strip() for name in next(csv.reader(lines[:1], delimiter=delimiter))]
            column, unit = self._column(header)
            times, values = self._rows(lines, delimiter, (header.index(self.time_column), header.index(column)))
        except csv.Error as error:
            raise BadInput(f"{self.path} is no readable CSV ({error}); mend the file") from None
        factor = {**POWERS, **ENERGIES}[unit]
        return PowerTrace(str(self.path), np.array(times) + self.offset_s, np.array(values) * factor, unit in POWERS)

    def _column(self, header: list[str]) -> tuple[str, str]:
        """Name and unit of the column of values. Raises `BadInput`."""
        wanted = list(COLUMNS) if self.value_column == "auto" else [self.value_column]
        present = [name for name in wanted if name in header]
        has = ", ".join(header)
        if self.time_column not in header:
            raise BadInput(f"{self.path} has no column {self.time_column}, only {has}; name the column of times")
        if len(present) != 1:
            found = "both watts and joules" if present else f"no column {' or '.join(wanted)}, only {has}"
            raise BadInput(f"{self.path} has {found}; name the column of values")
        return present[0], self.unit if self.unit != "auto" else COLUMNS[present[0]]

    def _rows(self, lines: list[str], delimiter: str, at: tuple[int, int]) -> tuple[list[float], list[float]]:
        """Times in s and values as they stand. Raises `BadInput`."""
        zone, times, values = _zone(self.zone), list[float](), list[float]()
        reader = csv.reader(lines, delimiter=delimiter)
        next(reader)
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            place = f"line {reader.line_num} of {self.path}"
            if len(row) <= max(at):
                raise BadInput(f"{place} has {len(row)} cells, fewer than the header; mend the file")
            moment = _moment(row[at[0]].strip(), SECONDS[self.time_unit], zone, place)
            if times and moment <= times[-1]:
                same = "repeats the time of the row before" if moment == times[-1] else "is earlier than the row before"
                raise BadInput(f"{place} {same}; sort the rows, drop repeated ones, or state times in UTC")
            times.append(moment)
            values.append(_value(row[at[1]].strip(), place))
        return times, values

    def spent_once_written(self, begin_s: float, end_s: float, sleep: Callable[[float], object] = time.sleep) -> Spent:
        """Joules of a window (`PowerTrace.spent`) as soon as the logger has written its end, which is waited for.

        Raises as `read` and `PowerTrace.spent` do; after 10 s also where the file still ends before the window.
        """
        for _ in range(int(PATIENCE_S / LOOK_EVERY_S)):
            try:
                return self.read().spent(begin_s, end_s)
            except TraceBehind:
                sleep(LOOK_EVERY_S)
        return self.read().spent(begin_s, end_s)


def moment_now() -> float:
    """The present moment in s since 1970, as the clock of loggers counts; for lengths of time it is of no use."""
    return datetime.now(UTC).timestamp()


def _zone(name: str) -> tzinfo | None:
    """A time zone by name or by its distance from UTC; None for no name. Raises `ValueError`."""
    if not name:
        return None
    try:
        if name[0] in "+-":
            return datetime.fromisoformat(f"2000-01-01T00:00:00{name}").tzinfo
        return UTC if name.upper() in ("UTC", "Z") else ZoneInfo(name)
    except (ValueError, KeyError, OSError):
        raise ValueError(f"zone must be a time zone such as UTC, +02:00 or Europe/Berlin, not {name!r}") from None


def _moment(cell: str, factor: float, zone: tzinfo | None, place: str) -> float:
    """A time in s since 1970. Raises `BadInput`."""
    try:
        number = float(cell)
    except ValueError:
        return _iso_moment(cell, zone, place)
    if not math.isfinite(number):
        raise BadInput(f"the time {cell} in {place} is no number; mend the file")
    return number * factor


def _iso_moment(cell: str, zone: tzinfo | None, place: str) -> float:
    try:
        moment = datetime.fromisoformat(cell)
    except ValueError:
        raise BadInput(f"the time {cell[:40]!r} in {place} is neither a number nor ISO 8601; mend the file") from None
    if moment.tzinfo is None and zone is None:
        raise BadInput(f"the time {cell!r} in {place} has no time zone; state it, such as UTC or Europe/Berlin")
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp()
    except OverflowError:
        raise BadInput(f"the time {cell!r} in {place} is beyond the calendar; mend the file") from None


def _value(cell: str, place: str) -> float:
    try:
        number = float(cell)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise BadInput(f"the value {cell[:40]!r} in {place} must be a number of at least 0; mend the file")
    return number
