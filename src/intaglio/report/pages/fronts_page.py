"""The report page of the bench of sampling methods: fronts of what they give for what they cost, and their pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from intaglio.report.kit.axes import TOP, Real, frame, number, padded, path, percent, svg, text
from intaglio.report.kit.charts import box, marker
from intaglio.report.kit.format import count, decimal, duration, title
from intaglio.report.kit.thumbnails import Album
from intaglio.report.kit.views import FrontsPage, Key, PageTable, Row, Shown
from intaglio.report.pages.run_pages import state
from intaglio.runs.read import RunData

PICTURES = 12
"""Pictures shown of a row, at most."""
LIMITS = (
    Row("Proxies", "Consistency, diversity and realism are told by small networks and statistics, on emoji alone."),
    Row("One encoder", "Names and realism are judged by the same encoder; a method led by it would be flattered."),
    Row("Few prompts", "Intervals are over the captions; rows whose intervals overlap are not told apart."),
    Row("Other models", "Which methods are worth their calls on this small model says little of large ones."),
)
HEADS = ("row", "consistent", "with 95%", "diversity", "with 95%", "KID", "with 95%", "calls", "seconds")


def page_of(run: RunData, page_folder: Path) -> FrontsPage | None:
    """The page of a finished `bench sample`; None for another bench, or where nothing is finished yet."""
    if run.run.get("method") != "sample" or not isinstance(run.summary.get("rows"), Mapping):
        return None
    rows: Mapping[str, Any] = run.summary["rows"]
    front = [name for name, row in rows.items() if row["on_front"]]
    shown = {name: _pictures(run, name) for name in rows}
    album = Album(page_folder, sum(map(len, shown.values())), run=run.folder)
    return FrontsPage(
        template="fronts.html.j2",
        **title(run, f"{len(front)} of {count(len(rows), 'row')} on the front"),
        lead=f"Sampling methods by consistency, diversity, realism and calls of the network. {state(run)}",
        keys=_keys(run.summary),
        warnings=run.warnings,
        figures=_figures(rows) if rows else [],
        table=PageTable("", HEADS, [_cells(name, row) for name, row in rows.items()]),
        pictures=[(name, [Shown(album.thumb(path), "") for path in shown[name]]) for name in rows if shown[name]],
        limits=LIMITS,
    )


def _figures(rows: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    across = ("diversity", "diversity (Vendi score)")
    return [
        Row(
            "Squares are on the front of all four measures; a line joins the settings of one method.",
            front_plot(rows, across, ("consistency", "consistent"), percents=True),
        ),
        Row(
            "Realism by calls of a picture; less is better in both.",
            front_plot(rows, ("calls", "calls of a picture (log)"), ("kid", "KID"), log=True),
        ),
    ]


def front_plot(
    rows: Mapping[str, Mapping[str, Any]],
    across: tuple[str, str],
    up: tuple[str, str],
    *,
    log: bool = False,
    percents: bool = False,
) -> Markup:
    """Two measures of every row, each given by its key and its words."""
    points = {name: (_value(row[across[0]]), _value(row[up[0]])) for name, row in rows.items()}
    xs, ys = ([point[k] for point in points.values()] for k in (0, 1))
    low, high = (min(xs) / 1.5, max(xs) * 1.5) if log else padded(xs, 0.12)
    x, y = box(low, high, *padded(ys, 0.12), log_x=log)
    parts = [frame(x, y, across[1], up[1], number, percent if percents else number)]
    for method in dict.fromkeys(str(row["settings"]["method"]) for row in rows.values()):
        own = [points[name] for name, row in rows.items() if row["settings"]["method"] == method]
        parts.append(path([(x(a), y(b)) for a, b in own], "raw s0"))
        a, b = own[0]
        parts.append(text(x(a) + 7, max(y(b) - 6, TOP + 8), method, "start", "note"))
    for name, (a, b) in points.items():
        kind = "in" if rows[name]["on_front"] else "ctl"
        parts.append(marker(x(a), y(b), kind, f"{name}: {number(a)}, {number(b)}"))
    described = f"{up[1]} over {across[1]} of {count(len(rows), 'row')}"
    return svg(Markup("").join(parts), up[1], described)


def _keys(summary: Mapping[str, Any]) -> list[Key]:
    keys = [Key("Methods", str(summary["methods"]), "along their knobs")]
    keys.append(Key("KID’s floor", decimal(summary["floor"]), "between halves of the real pictures"))
    words = {"fkc_error": "fkc: error of mean and variance", "search_gain": "gain of a search, judged apart"}
    words |= {"stsl_psnr": "stsl: dB of recovered pictures", "psld_psnr": "the same, to first order (PSLD)"}
    words |= {"stsl_error": "stsl: share of the first order’s error left"}
    keys += [Key(said, decimal(summary[name])) for name, said in words.items() if _is_number(summary.get(name))]
    return keys


def _cells(name: str, row: Mapping[str, Any]) -> Sequence[str]:
    cells = [name]
    for key, written in (("consistency", percent), ("diversity", number), ("kid", number)):
        figure = row[key]
        cells += [written(figure["mean"]), f"{written(figure['low'])} to {written(figure['high'])}"]
    return [*cells, f"{row['calls']:,.0f}", duration(row["seconds"])]


def _pictures(run: RunData, name: str) -> Sequence[Path]:
    """The first pictures of a row, one a caption."""
    folder = name.replace(" ", "-")
    return [path for key, path in run.pictures.items() if key.startswith(f"{folder}/")][:PICTURES]


def _value(figure: Any) -> Real:
    return float(figure["mean"] if isinstance(figure, Mapping) else figure)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
