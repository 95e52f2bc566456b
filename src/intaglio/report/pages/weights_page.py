"""The report of a network's kernels: a line a layer, and kernels of a few as pictures."""

from collections.abc import Sequence
from pathlib import Path

from intaglio.explain.weights.result import KernelReadings, ReadLayer
from intaglio.report.kit.format import count, title
from intaglio.report.kit.thumbnails import Album
from intaglio.report.kit.views import ConceptPage, Key, PageTable, Row, Shown
from intaglio.runs.plain_json import safe_path
from intaglio.runs.read import RunData

SHOWN, MOST_ROWS = 6, 400
"""Layers with pictures, and layers of the table, at most."""
LIMITS: Sequence[Row] = (
    Row(
        "Like random is not useless",
        "Random kernels can serve a network, and a layer that looks random may have learned what these figures do not "
        "see: which channels are mixed.",
    ),
    Row(
        "Shapes alone",
        "The figures are of kernels as small pictures. Layers of 1x1 kernels and linear layers have no shape and are "
        "left out.",
    ),
    Row("A shift is no damage", "How far kernels moved says nothing of how the pictures changed."),
)


def page_of(run: RunData, page_folder: Path) -> ConceptPage | None:
    """The page of an `explain weights` run; None where nothing is finished yet."""
    found = KernelReadings.load(run.folder)
    if found is None:
        return None
    album, layers = Album(page_folder, SHOWN, run=run.folder), {one.name: one for one in found.layers}
    heads = ["layer", "kernels", "size", *(one.replace("_", " ") for one in found.measured), "by chance", "verdict"]
    return ConceptPage(
        template="audit_concept.html.j2",
        **title(run, f"Kernels of {count(len(found.layers), 'layer')}"),
        lead=found.statement,
        keys=_keys(found),
        warnings=run.warnings,
        table=PageTable(
            "Kernels",
            [*heads, "shift"] if found.shifted else heads,
            [_cells(one, found.shifted) for one in found.layers[:MOST_ROWS]],
        ),
        table_heading="Layers",
        table_text=_text(found),
        pictures=[("Kernels", [_shown(layers[name], found, run, album) for name in found.shown(SHOWN)])],
        pictures_text="At most 64 kernels of a layer, spread over its channels: red above 0, blue below.",
        limits=LIMITS,
    )


def _keys(found: KernelReadings) -> list[Key]:
    figures = found.figures()
    main = found.measured[0]
    keys = [
        Key(f"Mean {main.replace('_', ' ')}", f"{figures[f'mean_{main}']:.3f}", "over layers"),
        Key("Of random layers", f"{figures['mean_chance']:.3f}", "of the same shapes"),
    ]
    if figures["mean_shift"] is not None:
        keys.append(Key("Mean shift", f"{figures['mean_shift']:.3f}", "over layers"))
    return keys


def _text(found: KernelReadings) -> str:
    shift = f" The shift is {found.shift_reading}." if found.shifted else ""
    left = len(found.layers) - MOST_ROWS
    rest = f" {left} more layers are in kernels.csv." if left > 0 else ""
    main = found.measured[0].replace("_", " ")
    told = f"The main figure, {main}, is {found.reading}; by chance, that of random kernels of the same shape."
    return f"{told}{shift}{rest}"


def _cells(one: ReadLayer, shifted: bool) -> list[str]:
    row = [one.name, f"{one.kernels:,}", one.size, *(f"{value:.3f}" for value in (*one.figures, one.chance))]
    return [*row, one.verdict, *([f"{one.shift:.3f}"] if shifted else [])]


def _shown(one: ReadLayer, found: KernelReadings, run: RunData, album: Album) -> Shown:
    caption = f"{one.name}: {one.verdict}, {found.measured[0].replace('_', ' ')} {one.figures[0]:.3f}"
    return Shown(album.thumb(run.folder / "images" / f"{safe_path(one.name)}.png"), caption)
