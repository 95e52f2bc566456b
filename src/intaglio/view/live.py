"""The rows of metrics that a run appends, read on from where they ended last, and their curves."""

import os
from array import array
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from markupsafe import Markup

from intaglio.data_files import is_number, parse_json
from intaglio.errors import BadInput
from intaglio.files import open_regular
from intaglio.printable import one_line
from intaglio.report.kit.axes import number
from intaglio.report.kit.charts import curve_plot
from intaglio.report.pages.run_pages import WINDOW, volatile

KEPT_RUNS = 64
"""Runs whose rows are kept in memory."""
CHUNK = 2**26
"""Bytes of a stream that are read at once, at most; the rest follows with the next look."""
SERIES = 8
"""Numbers of a stream that are drawn, at most."""
Points = Sequence[tuple[float, float]]
"""Steps and values."""


@dataclass(frozen=True)
class Curve:
    """One number of a stream over the steps."""

    name: str
    stream: str
    points: Points
    plot: Markup

    @property
    def last(self) -> str:
        """The last value and its step."""
        step, value = self.points[-1]
        return f"{number(value)} at step {step:g}"


class StreamTail:
    """The rows of one `metrics/*.jsonl`, of which each look reads only what was appended since."""

    def __init__(self, path: Path):
        self.path = path
        self._forget()

    def _forget(self) -> None:
        self._offset, self._inode = 0, 0
        self._steps: dict[str, array] = {}
        self._values: dict[str, array] = {}

    def read(self) -> None:
        """Takes up what is new; a file that was replaced or cut, as a resumed run does, is read from its beginning."""
        with open_regular(self.path) as file:
            about = os.fstat(file.fileno())
            if about.st_ino != self._inode or about.st_size < self._offset:
                self._forget()
                self._inode = about.st_ino
            file.seek(self._offset)
            content = file.read(CHUNK)
        whole = content[: content.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            row = parse_json(line, str(self.path), constants=True)
        except BadInput:
            return  # a torn line, which a resumed run writes again
        if not isinstance(row, dict) or not is_number(row.get("step")):
            return
        for name, value in row.items():
            if name != "step" and is_number(value) and not volatile(name):
                self._steps.setdefault(name, array("d")).append(float(row["step"]))
                self._values.setdefault(name, array("d")).append(float(value))

    def series(self) -> dict[str, Points]:
        """The points of each number."""
        return {name: list(zip(steps, self._values[name], strict=True)) for name, steps in self._steps.items()}


class Tails:
    """The streams of the runs that were looked at last."""

    def __init__(self) -> None:
        self._runs: OrderedDict[Path, dict[str, StreamTail]] = OrderedDict()
        self._lock = Lock()

    def series(self, folder: Path) -> Mapping[tuple[str, str], Points]:
        """The points of each number of each stream of a run, by stream and name; times are left out."""
        with self._lock:
            streams = self._runs.setdefault(folder, {})
            self._runs.move_to_end(folder)
            while len(self._runs) > KEPT_RUNS:
                self._runs.popitem(last=False)
            found: dict[tuple[str, str], Points] = {}
            for path in sorted((folder / "metrics").glob("*.jsonl")):
                tail = streams.setdefault(path.stem, StreamTail(path))
                try:
                    tail.read()
                except BadInput:
                    continue  # gone meanwhile, or no file at all
                for name, points in list(tail.series().items())[:SERIES]:
                    found[path.stem, name] = points
            return found


def curves(series: Mapping[tuple[str, str], Points]) -> list[Curve]:
    """A figure for each number that changes."""
    found = []
    for (stream, name), points in series.items():
        if len({value for _, value in points}) > 1:
            shown = one_line(name.replace("_", " "))
            window = min(WINDOW, max(1, len(points) // 10))
            found.append(Curve(shown, one_line(stream), points, curve_plot({shown: points}, "step", shown, window)))
    return found
