"""The report page of any run without a page of its own: results, curves, records and pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from intaglio.report.kit.charts import curve_plot
from intaglio.report.kit.format import duration, flattened, is_path, plain, row, title
from intaglio.report.kit.thumbnails import Album
from intaglio.report.kit.views import PageTable, Row, RunPage, Shown
from intaglio.runs.read import RunData

ROWS = 200
"""Rows of a table, at most."""
PICTURES = 120
"""Pictures of a page or of a group on it, at most."""
WINDOW = 20
"""Widest moving average of a curve, in points."""
TIMES = ("second", "step_s", "bytes")
"""A number whose name holds one of these may differ between two runs of the same work."""


def plain_page(run: RunData, page_folder: Path) -> RunPage:
    """The page of a run of any other verb, or of one that is not finished."""
    names = list(run.pictures)[:PICTURES]
    album = Album(page_folder, len(names), run=run.folder)
    verb, method = run.run.get("verb", "unknown"), run.run.get("method")
    return RunPage(
        template="plain.html.j2",
        **title(run, f"{verb} {method}" if method else str(verb)),
        lead=state(run),
        warnings=run.warnings,
        result=result_rows(run.summary),
        curves=curves(run),
        tables=[_table(kind, values) for kind, values in run.records.items()],
        pictures=[Shown(album.thumb(run.pictures[name]), name) for name in names],
    )


def result_rows(values: Mapping[str, Any]) -> list[Row]:
    """Rows of a nested mapping; durations and amounts of memory are volatile."""
    rows = []
    for name, value in flattened(values):
        label, shown = readable(name, value)
        made = row(label, shown)
        rows.append(Row(label, made.value, volatile=volatile(name), place=made.place))
    return rows


def readable(name: str, value: Any) -> tuple[str, Any]:
    """A stored name and value for readers: no underscores, megabytes, seconds with their unit."""
    if _is_number(value) and name.endswith("_bytes"):
        return name.removesuffix("_bytes").replace("_", " "), f"{value / 1e6:.3g} MB"
    if _is_number(value) and name.endswith("_s"):
        return name.removesuffix("_s").replace("_", " "), duration(value)
    if _is_number(value) and name.rsplit(".", 1)[-1] == "seconds":
        return name.replace("_", " "), duration(value)
    return name.replace("_", " "), f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else value


def volatile(name: str) -> bool:
    """Whether the value of that name depends on the machine's speed."""
    return any(word in name for word in TIMES)


def state(run: RunData) -> str:
    """Whether the run is done, and how it goes on if not."""
    status = str(run.run.get("status") or "unknown")
    if status == "done":
        return "This run is done; its results and files are below."
    if status == "failed":
        return f"This run failed: {run.run.get('error')} The same command goes on where it was."
    return f"This run is {status}: the same command, or `intaglio runs resume`, goes on where it was."


def curves(run: RunData, without: str | None = None) -> list[Row]:
    """One figure for each number of each stream of metrics; times are left out."""
    figures = []
    for stream, rows in run.metrics.items():
        if stream == without:
            continue
        names = [n for n in _numbers(rows) if n != "step" and not volatile(n)]
        for name in names[:6]:
            points = [(float(r.get("step", k)), float(r[name])) for k, r in enumerate(rows) if _is_number(r.get(name))]
            if len({value for _, value in points}) > 1:
                window = min(WINDOW, max(1, len(points) // 10))
                figures.append(
                    Row(f"{name.replace('_', ' ')} ({stream})", curve_plot({name: points}, "step", name, window))
                )
    return figures


def _numbers(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for r in rows for name, value in r.items() if _is_number(value)))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


def _table(kind: str, values: Mapping[str, Mapping[str, Any]]) -> PageTable:
    flat = {key: dict(flattened(value)) for key, value in values.items()}
    heads = [h for h in dict.fromkeys(n for value in flat.values() for n in value) if not volatile(h)]
    heads = [h for h in heads if not any(is_path(value.get(h)) for value in flat.values())]
    shown = list(flat.items())[:ROWS]
    rows = [[key, *(plain(value[h]) if h in value else "" for h in heads)] for key, value in shown]
    left = len(flat) - len(shown)
    return PageTable(kind, ["", *heads], rows, f"and {left} more, in the run folder" if left > 0 else "")
