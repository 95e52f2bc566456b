"""The report page of a merge: the models, what the merge cost in loss, and pictures of equal seeds by all of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from intaglio.report.kit.format import count, decimal, title
from intaglio.report.kit.thumbnails import Album
from intaglio.report.kit.views import Key, MergePage, PageTable, Row, Shown
from intaglio.report.pages.run_pages import state
from intaglio.runs.read import RunData

LIMITS = (
    Row("Other pictures", "The loss is of these held-out pictures; of others the merged model may do worse."),
    Row("The pictures’ looks", "A denoising loss is no measure of how a drawing looks; compare the pictures."),
    Row("What leaks", "A merged model may give away training pictures of each of its parts; audit it as any other."),
    Row("Licences", "The merged model is under the licences of all of its parts."),
)
COLUMNS = {
    "share": "share in the merge",
    "choosing_loss": "loss on the choosing pictures",
    "loss_added": "loss of the mean with it",
    "distance_to_base": "distance to the base",
    "distance_to_merged": "distance to the merged model",
}
"""Heads of the columns that a method may tell, in their order."""


def page_of(run: RunData, page_folder: Path) -> MergePage | None:
    """The page of a `merge` run; None where nothing is finished yet."""
    summary = run.summary
    if "weights" not in summary:
        return None
    names = {f"model-{k}": row["model"] for k, row in enumerate(summary["models"])}
    if summary["base"] is not None:
        names = {"base": f"{summary['base']['model']}, the base", **names}
    names["merged"] = "Merged"
    drawn = {name: _pictures(run, name) for name in names}
    album = Album(page_folder, sum(map(len, drawn.values())), run=run.folder)
    return MergePage(
        template="merge.html.j2",
        **title(run, f"{count(len(summary['models']), 'model')} as one, by {run.run.get('method')}"),
        lead=f"{_parts(summary)} {state(run)}",
        keys=_keys(run),
        warnings=run.warnings,
        models=_models(summary),
        models_text=(
            "A distance is |a − b| / √(|a||b|) over the matrices of the denoisers: 0 for equal ones, about 1.4 for "
            "unrelated ones."
        ),
        losses=_losses(summary, names),
        losses_text=_losses_text(summary),
        pictures=[
            (heading, [Shown(album.thumb(path), path.stem) for path in drawn[name]])
            for name, heading in names.items()
            if drawn[name]
        ],
        pictures_text=f"Each model draws the prompt “{summary['prompt']}” from the same seeds.",
        limits=LIMITS,
    )


def _parts(summary: Mapping[str, Any]) -> str:
    models = ", ".join(row["model"] for row in summary["models"])
    base = "" if summary["base"] is None else f" on {summary['base']['model']}"
    return f"Made of {models}{base}."


def _keys(run: RunData) -> list[Key]:
    summary, keys = run.summary, []
    if (plan := run.records.get("plan", {}).get("plan")) is not None:
        before, after = (f"{plan[name] / 1e6:.4g} MB" for name in ("bytes_before", "bytes_after"))
        keys.append(Key("Weights", after, f"of {before} before"))
    if (judged := summary["losses"]) is not None:
        keys.append(Key("Held-out loss", decimal(judged["merged"]["loss"]), _interval(judged["merged"], "loss")))
        keys.append(Key("Below the mean of its parts", decimal(judged["gain"]), _interval(judged, "gain")))
    taken = [row for row in summary["models"] if row.get("share", 1)]
    return [*keys, Key("Models taken", f"{len(taken)} of {len(summary['models'])}")]


def _models(summary: Mapping[str, Any]) -> PageTable:
    rows = summary["models"]
    told = [name for name in COLUMNS if any(row.get(name) is not None for row in rows)]
    table = [[row["model"], *(_cell(row.get(name)) for name in told), row["fingerprint"][:16]] for row in rows]
    return PageTable("", ["model", *(COLUMNS[name] for name in told), "fingerprint"], table)


def _losses(summary: Mapping[str, Any], names: Mapping[str, str]) -> PageTable | None:
    if (judged := summary["losses"]) is None:
        return None
    rows = [
        [
            names[row["model"]],
            decimal(row["loss"]),
            _interval(row, "loss"),
            _signed(row["merged_less_it"]),
            _interval(row, "merged_less_it", _signed),
        ]
        for row in judged["others"]
    ]
    merged = judged["merged"]
    rows.append([names["merged"], decimal(merged["loss"]), _interval(merged, "loss"), "", ""])
    return PageTable("", ["model", "denoising loss", "", "merged less it", ""], rows)


def _losses_text(summary: Mapping[str, Any]) -> str:
    if (judged := summary["losses"]) is None:
        return "No held-out pictures were given, so nothing here says what the merge costs; give --images for that."
    said = (
        f"The denoising loss of {count(judged['pictures'], 'picture')} that were held out, at the same timesteps and "
        "noises for every model. Intervals are of 95%, by the bootstrap over the pictures, and those of differences "
        "are paired."
    )
    if not (chosen := summary["chosen_by"]):
        return said
    return f"{said} The models were chosen by {count(chosen, 'other picture')} of the folder, which are not in it."


def _cell(value: Any) -> str:
    return "" if value is None else decimal(value)


def _signed(value: float) -> str:
    """A number with its sign, two significant digits."""
    return f"{value:+.2g}".replace("-", "−")


def _interval(row: Mapping[str, Any], name: str, written: Any = decimal) -> str:
    found = row[f"{name}_interval_95"]
    return "no interval" if found is None else f"{written(found[0])} to {written(found[1])}"


def _pictures(run: RunData, name: str) -> Sequence[Path]:
    return [path for key, path in run.pictures.items() if key.startswith(f"{name}/")]
