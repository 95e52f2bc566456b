"""The report of an evaluation of attribution methods: their figures, and aggregate maps from the best to the worst."""

from collections.abc import Sequence
from pathlib import Path

from intaglio.explain.method_comparison import EvaluatedRow, MethodComparison
from intaglio.report.kit.format import count, decimal, rate_text, title
from intaglio.report.kit.thumbnails import Album
from intaglio.report.kit.views import ConceptPage, Key, PageTable, Row, Shown
from intaglio.runs.read import RunData

HEADS = {
    "insertion": "insertion",
    "chance": "by chance",
    "deletion": "deletion",
    "gridpg": "in its quarter",
    "difull": "split",
    "sanity": "sanity",
}
"""Columns by the names of the figures."""
KINDS = {"pointed": "", "split": ", split"}
"""Ends of headings by the kinds of grids."""
BINS = ("best 2%", "2–5%", "5–50%", "50–95%", "95–98%", "worst 2%")
"""Captions of aggregate maps."""
LIMITS: Sequence[Row] = (
    Row(
        "A quarter is not an outline",
        "A map in the right quarter may still lie on the wrong part of it. No truth is known there.",
    ),
    Row(
        "The network may look elsewhere",
        "In a whole grid another picture can carry features of the class; a map that shows this is no error. In split "
        "grids it cannot.",
    ),
    Row(
        "A later layer explains less",
        "Maps at a late layer lie better because they explain only what comes after it. Compare rows of one layer.",
    ),
    Row("Of this network", "Another network, or other pictures, can turn the order of the methods around."),
)


def page_of(run: RunData, page_folder: Path) -> ConceptPage | None:
    """The page of an `explain evaluate` run; None where nothing is finished yet."""
    found = MethodComparison.load(run.folder)
    return None if found is None else evaluation_page(run, found, page_folder)


def evaluation_page(run: RunData, found: MethodComparison, page_folder: Path) -> ConceptPage:
    """The page of a result; `page_folder` is where it will lie."""
    album = Album(page_folder, len(KINDS) * len(BINS) * len(found.compared), run=run.folder)
    figures = found.figures()
    return ConceptPage(
        template="audit_concept.html.j2",
        **title(run, f"{count(len(found.compared), 'row')} of attribution methods on one network"),
        lead=found.statement,
        keys=[
            Key("Insertion", decimal(figures["insertion_best"], 2), "of the best row"),
            Key("In its quarter", _share(figures["gridpg_best"]), "of the best row’s positive map; 25% by chance"),
            Key("Pictures", f"{found.pictures:,}", "that were revealed and removed"),
            Key("Grids", f"{found.grids:,}", "of four pictures"),
        ],
        warnings=run.warnings,
        table=PageTable(
            "Methods", ["row", "layer", *HEADS.values(), "passes"], [_cells(one) for one in found.compared]
        ),
        table_heading="Methods beside each other",
        table_text="Insertion and deletion are areas under the class’s probability while a picture is revealed or "
        "removed in the map’s order: high and low are good. The quarter’s share is of the positive map: 0.25 by "
        "chance. Split: nothing outside the quarter can matter. Sanity is the rank correlation with the map under a "
        "head drawn at random: near 0 where the map is of the class at all. Ranges are of 95%.",
        pictures=[
            (f"{one.name}{words}", shown)
            for k, one in enumerate(found.compared)
            for kind, words in KINDS.items()
            if (shown := _aggregates(run, k, kind, album))
        ],
        pictures_text="Mean positive maps for the class of the upper left quarter, from the grids whose maps lie there "
        "most to those whose maps do least; one scale a row.",
        limits=LIMITS,
    )


def _share(found: float | None) -> str:
    return "–" if found is None else rate_text(found)


def _cells(one: EvaluatedRow) -> list[str]:
    return [one.name, one.layer, *(_figure(one, name) for name in HEADS), f"{one.passes:,.0f}"]


def _figure(one: EvaluatedRow, name: str) -> str:
    mean = one.mean(name)
    if mean is None:
        return "–"
    low, high = one.bounds(name)
    return decimal(mean, 2) if low is None or high is None else f"{mean:.2f} ({low:.2f} to {high:.2f})"


def _aggregates(run: RunData, number: int, kind: str, album: Album) -> list[Shown]:
    images = run.folder / "images"
    thumbs = [album.thumb(images / f"{number:03d}-{kind}-{k}.png") for k in range(len(BINS))]
    return [Shown(thumb, words) for thumb, words in zip(thumbs, BINS, strict=True) if thumb is not None]
