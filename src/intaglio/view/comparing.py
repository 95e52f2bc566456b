"""Runs side by side: the settings and figures in which they differ, curves in one figure, pictures of equal names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from intaglio.data_files import is_number
from intaglio.errors import BadInput
from intaglio.printable import one_line
from intaglio.report.kit.axes import TOP, frame, padded, path, svg
from intaglio.report.kit.charts import box, smoothed, thinned
from intaglio.report.kit.format import decimal, flattened, plain
from intaglio.report.pages.run_pages import WINDOW, readable
from intaglio.runs.header import checked_header
from intaglio.view.index import RunEntry
from intaglio.view.live import Points
from intaglio.view.run_files import Thumbnail, file_within, group_order, picture_groups, thumbnail

ROWS = 400
"""Rows of a table, at most."""
PICTURE_ROWS = 60
"""Rows of pictures, at most."""
ABSENT = "–"
"""Cell of a run that has no such value."""


@dataclass(frozen=True)
class ComparedRow:
    """A value of each run, under one name."""

    name: str
    cells: Sequence[str]
    change: str = ""
    """Of two numbers, the second less the first; empty for others."""


@dataclass(frozen=True)
class ComparedRows:
    """Values of several runs."""

    differing: Sequence[ComparedRow]
    equal: Sequence[tuple[str, str]]
    """Names and values that all runs share."""


@dataclass(frozen=True)
class Overlay:
    """One number of one stream, of each run that logged it."""

    name: str
    plot: Markup


def read_headers(entries: Sequence[RunEntry]) -> list[Mapping[str, Any]]:
    """`run.json` of each run; empty where it cannot be read."""
    found: list[Mapping[str, Any]] = []
    for entry in entries:
        try:
            found.append(checked_header(entry.folder))
        except BadInput:
            found.append({})
    return found


def settings_rows(headers: Sequence[Mapping[str, Any]]) -> ComparedRows:
    """Settings, seed, device, versions and inputs, those that differ apart from those that do not."""
    tables = []
    for header in headers:
        table = {"verb": header.get("verb"), "method": header.get("method"), "seed": header.get("seed")}
        table |= dict(flattened(header.get("settings") or {}))
        for role, about in (header.get("inputs") or {}).items():
            known = about if isinstance(about, Mapping) else {}
            table[f"input {role}"] = f"{known.get('path')} ({str(known.get('sha256'))[:10]})"
        table |= {"device": header.get("device")}
        table |= {f"version of {name}": value for name, value in (header.get("versions") or {}).items()}
        tables.append(table)
    return _rows(tables, lambda name, value: (name.replace("_", " "), plain(value)))


def figures_rows(headers: Sequence[Mapping[str, Any]]) -> ComparedRows:
    """The figures of the summaries, with time and energy, those that differ apart from those that do not."""
    tables = []
    for header in headers:
        table = dict(flattened(header.get("summary") or {}))
        table |= {name: header[name] for name in ("seconds", "cpu_seconds", "joules") if is_number(header.get(name))}
        tables.append(table)
    return _rows(tables, lambda name, value: _figure(*readable(name, value)))


def _figure(name: str, value: Any) -> tuple[str, str]:
    return name, plain(value)


def _rows(tables: Sequence[Mapping[str, Any]], shown: Any) -> ComparedRows:
    differing, equal = [], []
    for name in list(dict.fromkeys(name for table in tables for name in table))[:ROWS]:
        cells = [one_line(shown(name, table[name])[1]) if name in table else ABSENT for table in tables]
        label = one_line(shown(name, next(table[name] for table in tables if name in table))[0])
        if len(set(cells)) > 1:
            differing.append(ComparedRow(label, cells, _change(name, tables)))
        else:
            equal.append((label, cells[0]))
    return ComparedRows(differing, equal)


def _change(name: str, tables: Sequence[Mapping[str, Any]]) -> str:
    values = [table.get(name) for table in tables]
    if len(values) != 2 or not all(is_number(value) for value in values) or name == "seed":
        return ""
    first, second = values
    difference = float(second) - float(first)  # pyright: ignore[reportArgumentType]
    return f"{'+' if difference > 0 else ''}{decimal(difference, 3)}"


def overlays(series: Sequence[Mapping[tuple[str, str], Points]]) -> list[Overlay]:
    """A figure for each number that changes in some run, with a line a run in the order of the runs."""
    names = list(dict.fromkeys(key for one in series for key in one))
    found = []
    for stream, name in names:
        lines = [one.get((stream, name), ()) for one in series]
        if any(len({value for _, value in points}) > 1 for points in lines):
            shown = one_line(name.replace("_", " "))
            label = shown if stream == name else f"{shown} ({one_line(stream)})"
            found.append(Overlay(label, overlay_plot(lines, shown)))
    return found


def overlay_plot(lines: Sequence[Points], name: str) -> Markup:
    """Curves over the steps in one figure, each the running mean of its run's values; its colour is the run's.

    The running mean is over a tenth of a run's points, at most `WINDOW`, as in the report of one run.
    """
    means = []
    for points in lines:
        window = min(WINDOW, max(1, len(points) // 10))
        smooth = smoothed([value for _, value in points], window)
        means.append(thinned([(step, value) for (step, _), value in zip(points, smooth, strict=True)]))
    everything = [point for line in means for point in line]
    low, high = min(step for step, _ in everything), max(step for step, _ in everything)
    x, y = box(low, high if high > low else low + 1, *padded([value for _, value in everything]))
    parts = [frame(x, y, "step", "")]
    parts += [path([(x(a), y(b)) for a, b in line], f"curve run{k}") for k, line in enumerate(means) if line]
    count = sum(bool(line) for line in means)
    return svg(Markup("").join(parts), name, f"{name} over the steps, of {count} runs", height=y.start + TOP + 30)


@dataclass(frozen=True)
class PictureRow:
    """The pictures that several runs have under one path."""

    name: str
    """The path below each run's folder."""
    cells: Sequence[Thumbnail | None]
    """A run each; None where the run has none that can be read."""


def picture_rows(entries: Sequence[RunEntry]) -> tuple[list[PictureRow], int, int]:
    """The pictures that two runs or more have under one path, those drawn as samples first.

    Also how many are left out because they are the same in all runs, and how many because they are too many.
    """
    had: dict[str, set[int]] = {}
    for k, entry in enumerate(entries):
        for group in picture_groups(entry.folder):
            for name in group.pictures:
                had.setdefault(name, set()).add(k)
    shared = sorted((name for name, runs in had.items() if len(runs) > 1), key=group_order)
    rows, same, left = [], 0, 0
    for name in shared:
        if len(rows) == PICTURE_ROWS:
            left += 1
            continue
        files = [file_within(entry.folder, name) for entry in entries]
        cells = [None if file is None else thumbnail(file) for file in files]
        if len({None if cell is None else cell.data for cell in cells}) == 1:
            same += 1
        else:
            rows.append(PictureRow(name, cells))
    return rows, same, left
