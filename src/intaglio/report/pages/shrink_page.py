"""The report page of a model made smaller: bytes, what the predictions lost, and pictures of equal seeds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from intaglio.amounts import size_words
from intaglio.report.kit.format import count, decimal, title
from intaglio.report.kit.thumbnails import Album
from intaglio.report.kit.views import Key, PageTable, Row, Shown, ShrinkPage
from intaglio.report.pages.run_pages import state
from intaglio.runs.read import RunData

PACKED = (
    Row("Speed", "The model is smaller, not faster: its weights are unpacked when it is loaded."),
    Row("Other software", "Packed weights are read by this software alone; --layout diffusers stores them dense."),
)
LIMITS = (
    Row("The pictures’ looks", "An error of predictions is no measure of how a drawing looks; compare the pictures."),
    Row("Other prompts", "The error is of rows that were held back, under the prompts of the calibration."),
    Row("Privacy", "What the model was trained on may still be told from it; a smaller model is no private one."),
)
WORST = 25
"""Layers that are listed, those with the largest change."""


def page_of(run: RunData, page_folder: Path) -> ShrinkPage | None:
    """The page of a `shrink` run; None where nothing is finished yet."""
    summary = run.summary
    if "layers_packed" not in summary:
        return None
    shown = {name: [path for key, path in run.pictures.items() if key.startswith(f"{name}/")] for name in HEADINGS}
    album = Album(page_folder, sum(map(len, shown.values())), run=run.folder)
    packed = summary.get("layout", "intaglio") == "intaglio"
    size, before = summary["bytes" if packed else "file_bytes"], summary["bytes_at_16_bits"]
    return ShrinkPage(
        template="shrink.html.j2",
        **title(run, f"{size_words(size)} in place of {size_words(before)}"),
        lead=f"{summary['bits']:.2f} bits a weight by {run.run.get('method')}{_scales(summary)}. {state(run)}",
        keys=_keys(summary),
        warnings=run.warnings,
        errors=_errors(run.run.get("method"), summary),
        errors_text=_errors_text(summary),
        layers=_table(summary),
        layers_text=_layers_text(summary),
        pictures=[
            (heading, [Shown(album.thumb(path), _caption(path, summary)) for path in shown[name]])
            for name, heading in HEADINGS.items()
            if shown[name]
        ],
        limits=(*_own_limits(summary), *LIMITS),
    )


def _scales(summary: Mapping[str, Any]) -> str:
    return ", scales and all" if summary["layers_packed"] else ""


def _caption(path: Path, summary: Mapping[str, Any]) -> str:
    """The prompt of a picture, after its number."""
    prompts = (summary["pictures"] or {}).get("prompts") or ()
    place = int(path.stem)
    return f"{path.stem} {prompts[place]}" if place < len(prompts) else path.stem


HEADINGS = {"before": "Before", "after": "After"}
"""Groups of pictures and their headings."""


def _own_limits(summary: Mapping[str, Any]) -> tuple[Row, ...]:
    """Limits of the kind of model that it is."""
    if summary["layers_packed"] or (calls := summary.get("call_ms")) is None:
        return PACKED
    kinds = {
        "removed": "Modules are gone",
        "predicted": "One picture at a time computes the kept units alone, in a batch all are computed",
        "text_cache": "Keys and values of a prompt are computed once, and unpacked for each other batch",
    }
    what = next((words for key, words in kinds.items() if key in summary), "Modules are others")
    return (
        Row(
            "Speed",
            f"{what}: a prediction of one row took {decimal(calls['after'])} ms in place of "
            f"{decimal(calls['before'])}, medians of a few calls in turns on the machine of this run.",
        ),
        Row("Other software", "A U-Net whose modules are gone or others is read as such by this software alone."),
    )


def _table(summary: Mapping[str, Any]) -> PageTable:
    """Units, modules, caches or packed weights, with what became of each."""
    if "removed" in summary:
        return _units(summary)
    if (sides := summary.get("long_convolutions")) is not None:
        return PageTable("", ["self-attention", "places a side"], [[scope, str(side)] for scope, side in sides.items()])
    if (channels := summary.get("channels")) is not None:
        rows = [[str(place), *map(str, pair)] for place, pair in enumerate(channels)]
        return PageTable("", ["level", "channels before", "after"], rows)
    if "predicted" in summary:
        rows = [[name, f"{share:.0%}"] for name, share in summary["predicted"].items()]
        return PageTable("", ["block", "units computed"], rows)
    if "text_cache" in summary:
        rows = [[name, decimal(error)] for name, error in summary["text_cache"]["errors"].items()]
        return PageTable("", ["keys and values kept in", "error of the prediction"], rows)
    return _layers(summary["layers_packed"])


def _keys(summary: Mapping[str, Any]) -> list[Key]:
    keys = [Key("Size", f"{summary['bytes'] / summary['bytes_at_16_bits']:.0%}", "of 16 bits a weight")]
    if summary.get("layout", "intaglio") != "intaglio":
        keys.append(Key("File", size_words(summary["file_bytes"]), f"as {summary['layout']}, for other software"))
    if summary.get("layers_packed") == [] and (calls := summary.get("call_ms")) is not None:
        keys.append(Key("Call", f"{decimal(calls['after'])} ms", f"in place of {decimal(calls['before'])} ms"))
    if (error := summary.get("error")) is not None:
        keys.append(Key("Error", decimal(error["whole"]), f"{decimal(error['low'])} to {decimal(error['high'])} (95%)"))
    if (alike := summary["pictures"]) is not None:
        decibels = "equal" if alike["psnr"] is None else f"{alike['psnr']:.1f} dB"
        keys.append(Key("Pictures", decibels, f"SSIM {alike['ssim']:.3f}, beside those before"))
    return keys


def _errors(method: object, summary: Mapping[str, Any]) -> PageTable | None:
    if (error := summary.get("error")) is None:
        return None
    heads = ["model", "bytes", "error", "least noise", "middle", "most noise"]
    thirds = ["no rows" if third is None else decimal(third) for third in error["thirds"]]
    rows = [[str(method), size_words(summary["bytes"]), decimal(error["whole"]), *thirds]]
    if (ruler := summary.get("ruler")) is not None:
        plain = f"plain rounding to {ruler['bits']} bits"
        rows.append([plain, size_words(ruler["bytes"]), decimal(ruler["error"]), "", "", ""])
    return PageTable("", heads, rows)


def _errors_text(summary: Mapping[str, Any]) -> str:
    if (error := summary.get("error")) is None:
        return "Nothing was judged: no calibration rows were asked for."
    return (
        f"Norm of the change of the predicted noise over that of the noise, over {count(error['rows'], 'row')} that "
        f"were held back of {summary['calibration']}; by thirds of the timesteps beside."
    )


def _layers_text(summary: Mapping[str, Any]) -> str:
    if "removed" in summary:
        return f"{count(len(summary['removed']), 'unit')} are removed; {summary['share']:.0%} of the numbers are left."
    if (sides := summary.get("long_convolutions")) is not None:
        return (
            f"{count(len(sides), 'self-attention')} became long convolutions; {summary['zero_taps']:.1%} of their taps "
            "are zero."
        )
    if "channels" in summary:
        return f"Every width is less; {summary['share']:.0%} of the numbers are left."
    if (cache := summary.get("text_cache")) is not None:
        return (
            f"A prompt takes {cache['bytes_a_prompt']:,} bytes, where half precision takes "
            f"{cache['bytes_a_prompt_at_16_bits']:,}; {cache['mean_bits']:.2f} bits a number on average. Errors are "
            "against the model without a cache:"
        )
    if "predicted" in summary:
        return (
            f"{count(len(summary['predicted']), 'block')} have a predictor. A picture that was held back takes "
            f"{summary['multiplications']['share']:.0%} of the multiplications on average."
        )
    return f"{count(len(summary['layers_packed']), 'layer')} are packed; the {WORST} that changed most are:"


def _units(summary: Mapping[str, Any]) -> PageTable:
    """Units in the order of execution with their contributions, or those that were removed where none are known."""
    gone = summary["removed"]
    rows = [
        [row["unit"], f"{row['numbers']:,}", decimal(row["contribution"]), "removed" if row["unit"] in gone else ""]
        for row in summary["contributions"]
    ]
    return PageTable("", ["unit", "numbers", "contribution", ""], rows or [[name, "", "", "removed"] for name in gone])


def _layers(layers: list[Mapping[str, Any]]) -> PageTable:
    worst = sorted(layers, key=lambda one: -one["error"])[:WORST]
    rows = [[one["name"], f"{one['numbers']:,}", f"{one['bits']:.2f}", decimal(one["error"])] for one in worst]
    return PageTable("", ["weight", "numbers", "bits each", "change"], rows)
