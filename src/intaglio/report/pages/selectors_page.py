"""The report of a classifier that chooses its pixels: its masks, and what they leave out."""

from collections.abc import Sequence
from pathlib import Path

from intaglio.explain.selectors.result import SelectedPixels
from intaglio.report.kit.format import count, title
from intaglio.report.kit.thumbnails import Album
from intaglio.report.kit.views import ConceptPage, Key, PageTable, Row, Shown
from intaglio.runs.read import RunData

LIMITS: Sequence[Row] = (
    Row(
        "A mask says where, not why",
        "What is shown is all that the predictor sees, which no map of a plain classifier can say. What of it counts, "
        "and how, stays in the predictor.",
    ),
    Row(
        "A mask can talk",
        "A mask is made by a network that has seen the label’s evidence, and may tell the label by its own shape or by "
        "faint pixels. The plain classifier, which never saw masks of this kind, is asked about the same pixels for "
        "that reason: where it is much worse, what is shown is not what a person would call evidence.",
    ),
    Row(
        "Complete against two classifiers",
        "What is left out was put before the plain classifier, and pictures without the pixels that are half shown or "
        "more before one that was taught on such pictures. A better one may "
        "still read something there.",
    ),
)


def page_of(run: RunData, page_folder: Path) -> ConceptPage | None:
    """The page of an `explain selectors` run; None where nothing is finished yet."""
    found = SelectedPixels.load(run.folder)
    if found is None:
        return None
    files = sorted((run.folder / "images").glob("*.png"))
    album = Album(page_folder, len(files), run=run.folder)
    places = found.shown(len(files))
    pictures = [Shown(album.thumb(path), _told(found, k)) for path, k in zip(files, places, strict=True)]
    labels = PageTable(
        "Labels",
        [found.column, "pictures", "named right", "by the plain one", "from pixels not shown", "area"],
        [
            [
                row["label"], str(row["pictures"]),
                *(f"{row[name]:.2f}" for name in ("right", "plain_right", "left_out_right", "area")),
            ]
            for row in found.rows()
        ],
    )  # fmt: skip
    return ConceptPage(
        template="audit_concept.html.j2",
        **title(run, f"{found.column} by {found.method}"),
        lead=found.statement,
        keys=_keys(found),
        warnings=run.warnings,
        table=labels,
        table_heading="Labels",
        table_text=(
            f"Masks are made by {found.reading}; they learnt from {count(found.learnt, 'picture')}, and all answers "
            "are on others. A label’s share of pictures that is named right: by the predictor, from what the masks "
            "show; by the plain classifier, from whole pictures; and by one that was taught on pictures without the "
            "pixels that are half shown or more, from those."
        ),
        pictures=[("Masks", pictures)] if pictures else [],
        pictures_text=(
            "Held-out pictures, each beside its mask: full red is shown to the predictor, pale red faintly, and white "
            f"is not. What is hidden is {_colour(found.fill)} to the predictor."
        ),
        limits=LIMITS,
    )


def _told(found: SelectedPixels, k: int) -> str:
    called, truth = found.classes[int(found.predicted[k])], found.classes[int(found.truth[k])]
    right = f"{truth}, named right" if called == truth else f"{truth}, called {called}"
    return f"{found.names[k]}: {right}; {found.areas[k]:.0%} shown"


def _keys(found: SelectedPixels) -> list[Key]:
    low, high = found.interval
    below, above = found.difference_interval
    least, most = found.second_interval
    guess = f"a guess {found.chance:.2f}"
    return [
        Key("Accuracy from what is shown", f"{found.accuracy:.2f}", f"95% {low:.2f} to {high:.2f}; {guess}"),
        Key("Beside the plain classifier", f"{found.difference:+.2f}", f"95% {below:+.2f} to {above:+.2f}"),
        Key("Area shown", f"{found.area:.0%}", f"{found.allowed:.0%} was allowed"),
        Key("The plain one on what is shown", f"{found.share(found.seen):.2f}", "which it was not taught"),
        Key("The plain one on what is left out", f"{found.share(found.left):.2f}", guess),
        Key(
            "One taught on the pixels not shown",
            f"{found.share(found.second):.2f}",
            f"95% {least:.2f} to {most:.2f}; {guess}",
        ),
    ]


def _colour(fill: Sequence[float]) -> str:
    return "white" if min(fill) == 1 else "the mean colour of the pictures"
