"""The report of slices: a line each, and the pictures that are most of them."""

from collections.abc import Sequence
from pathlib import Path

from intaglio.explain.slices.result import ErrorSlices, FoundGroup
from intaglio.report.kit.format import count, rate_text, title
from intaglio.report.kit.thumbnails import Album
from intaglio.report.kit.views import ConceptPage, Key, PageTable, Row, Shown
from intaglio.runs.read import RunData

LIMITS: Sequence[Row] = (
    Row(
        "Of these pictures",
        "Slices are of the pictures that were given. On others the classifier may err for other reasons, or not.",
    ),
    Row(
        "Alike is not why",
        "That pictures of a slice look alike, and are mistaken, does not say that what they share misleads the "
        "classifier. Change it in a picture, and look again.",
    ),
    Row(
        "Tested before the answer",
        "In the tested half a picture is in a slice by its look and true class, before the classifier’s answer is "
        "known, so that right answers are counted too; the pictures below are ranked with the answers known.",
    ),
)


def page_of(run: RunData, page_folder: Path) -> ConceptPage | None:
    """The page of an `explain slices` run; None where nothing is finished yet."""
    found = ErrorSlices.load(run.folder)
    if found is None:
        return None
    album = Album(page_folder, sum(len(one.pictures) for one in found.groups) or 1, run=run.folder)
    passed = sum(one.passes for one in found.groups)
    return ConceptPage(
        template="audit_concept.html.j2",
        **title(run, f"{count(len(found.groups), 'slice')} of {count(found.wrong, 'wrong answer')}"),
        lead=found.statement,
        keys=[
            Key("Hold", f"{passed} of {len(found.groups)}", f"at a false-discovery rate of {found.rate:g}"),
            Key("Wrong", rate_text(found.wrong / found.pictures), f"of {found.pictures:,} pictures"),
            Key("Tested on", f"{found.tested:,}", "pictures that did not find the slices"),
        ],
        warnings=run.warnings,
        table=PageTable(
            "Slices",
            ["slice", "pictures", "wrong", "wrong outside", "p", "q", "mostly"],
            [_cells(one, row) for one, row in zip(found.groups, found.rows(), strict=True)],
        ),
        table_heading="Slices, those with most errors first",
        table_text=f"A slice is {found.reading}. Pictures and shares of wrong answers are of the tested half."
        + (" Pictures are described by where the score of their called class comes from." if found.masked else "")
        + (f" {found.weighing} They are in weights.csv." if found.weighed else ""),
        pictures=[(_heading(one), _shown(run, one, number, album)) for number, one in enumerate(found.groups)],
        pictures_text="The pictures that are most of each slice, with what they are and what they are called.",
        limits=LIMITS,
    )


def _cells(one: FoundGroup, row: dict[str, object]) -> list[str]:
    shares = ["–" if share is None else rate_text(share) for share in (one.error_inside, one.error_outside)]
    return [
        one.told,
        f"{one.inside:,}",
        *shares,
        f"{one.p:.2g}",
        f"{one.q:.2g}",
        f"{row['truth']} called {row['called']}",
    ]


def _heading(one: FoundGroup) -> str:
    return f"{one.told}, {'holds' if one.passes else 'does not hold'}"


def _shown(run: RunData, one: FoundGroup, number: int, album: Album) -> list[Shown]:
    images = run.folder / "images"
    told = zip(one.pictures, one.truth, one.called, strict=True)
    return [
        Shown(album.thumb(images / f"{number:02d}-{k:02d}.png"), f"{name}: {truth}, called {called}")
        for k, (name, truth, called) in enumerate(told)
    ]
