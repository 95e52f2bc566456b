"""The report page of a pruned model: what a call costs, what it cost in error, and the widths that are left."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from intaglio.report.kit.axes import at, svg
from intaglio.report.kit.format import count, decimal, title
from intaglio.report.kit.thumbnails import Album
from intaglio.report.kit.views import Key, PageTable, PrunePage, Row, Shown, WidthView
from intaglio.report.pages.run_pages import curves, state
from intaglio.runs.read import RunData

LIMITS = (
    Row("Other pictures", "The error is of held-out pictures of the same folder; of others it may rise further."),
    Row("The pictures’ looks", "A denoising error is no measure of how a drawing looks; compare the pictures."),
    Row("Other machines", "The cost is of this machine, batch and size; another machine may gain less."),
    Row("Other software", "Narrowed blocks are noted in the U-Net’s config.json, which other software does not read."),
)
BAR = (200.0, 16.0)
"""Width and height of a block's bar, in drawing units."""


def page_of(run: RunData, page_folder: Path) -> PrunePage | None:
    """The page of an `energy prune` run; None for another part of the verb, or where nothing is finished yet."""
    if run.run.get("method") != "prune" or "widths" not in run.summary:
        return None
    summary = run.summary
    widths = [
        WidthView(scope, str(before), str(after), _bar(after, before))
        for scope, (before, after) in summary["widths"].items()
    ]
    shown = {name: _pictures(run, name) for name in ("before", "after")}
    album = Album(page_folder, sum(map(len, shown.values())), run=run.folder)
    narrower = sum(after < before for before, after in summary["widths"].values())
    return PrunePage(
        template="prune.html.j2",
        **title(run, f"A call at {_cost(summary):.0%} of its cost"),
        lead=f"{_lead(summary)} {state(run)}",
        keys=_keys(summary),
        warnings=run.warnings,
        costs=_costs(summary),
        errors=_errors(summary["error"]),
        errors_text=_errors_text(summary),
        widths=widths,
        widths_text=f"{narrower} of {count(len(widths), 'block')} are narrower than they were.",
        pictures=[
            (heading, [Shown(album.thumb(path), path.stem) for path in shown[name]])
            for name, heading in (("before", "Before"), ("after", "After"))
            if shown[name]
        ],
        curves=curves(run),
        limits=LIMITS,
    )


def _cost(summary: Mapping[str, Any]) -> float:
    """The ratio that was measured, or else the estimated one."""
    return (summary["measured"] or summary["estimated"])["ratio"]


def _lead(summary: Mapping[str, Any]) -> str:
    before, after = summary["parameters"]["before"], summary["parameters"]["after"]
    return f"The U-Net has {after / 1e6:.3g} million weights in place of {before / 1e6:.3g} million."


def _keys(summary: Mapping[str, Any]) -> list[Key]:
    keys = [Key("Estimated cost", f"{summary['estimated']['ratio']:.0%}", "of before, by the profile")]
    if (measured := summary["measured"]) is not None:
        low, high = measured["ratio_interval_95"]
        keys.append(
            Key("Measured cost", f"{measured['ratio']:.0%}", f"{low:.0%} to {high:.0%} with 95%", volatile=True)
        )
    error = summary["error"]
    last = error["pruned"] if error["recovered"] is None else error["recovered"]
    keys.append(Key("Held-out error", decimal(last), f"{decimal(error['before'])} before"))
    weights = summary["parameters"]
    keys.append(Key("Weights", f"{weights['after'] / weights['before']:.0%}", "of the U-Net’s"))
    return keys


def _costs(summary: Mapping[str, Any]) -> PageTable:
    """Cost of a call before and after, estimated with intervals, and measured."""
    rows = []
    estimated, measured = summary["estimated"], summary["measured"]
    for name in ("before", "after"):
        low, high = estimated[name]["interval_95"]
        unit = estimated[name]["unit"]
        told = "not measured" if measured is None else f"{measured[name]:.3g} {measured['unit']}"
        rows.append([name, f"{estimated[name]['amount']:.3g} {unit}", f"{low:.3g} to {high:.3g} {unit}", told])
    return PageTable("", ["a call", "estimated", "with 95%", "measured"], rows)


def _errors(error: Mapping[str, Any]) -> PageTable:
    names = {"before": "before", "pruned": "pruned", "recovered": "trained after that"}
    rows = [[words, decimal(error[name])] for name, words in names.items() if error[name] is not None]
    return PageTable("", ["model", "mean squared error"], rows)


def _errors_text(summary: Mapping[str, Any]) -> str:
    error = summary["error"]
    said = (
        f"The denoising error of {count(error['pictures'], 'picture')} that were held out, at the same timesteps and "
        f"noises each time; {count(summary['pictures'], 'picture')} were learned from. "
        f"The change is {_signed(error['rise'])}"
    )
    if (interval := error["rise_interval_95"]) is None:
        return f"{said}; one picture gives no interval."
    return f"{said}, {_signed(interval[0])} to {_signed(interval[1])} with 95% over the pictures."


def _signed(value: float) -> str:
    """A number with its sign, two significant digits."""
    return f"{value:+.2g}".replace("-", "−")


def _pictures(run: RunData, name: str) -> Sequence[Path]:
    return [path for key, path in run.pictures.items() if key.startswith(f"{name}/")]


def _bar(kept: int, units: int) -> Markup:
    """The share of a block's units that is left, as a bar."""
    (width, height), words = BAR, f"{kept} of {units}"
    piece = Markup('<rect x="0" y="4" width="{}" height="8" class="{}"/>')
    parts = [piece.format(at(width), "track"), piece.format(at(width * kept / units), "forward")]
    return svg(Markup("").join(parts), words, words, width, height, "mini")
