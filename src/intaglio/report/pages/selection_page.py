"""The report of a selection: the chosen pictures with their weights."""

from pathlib import Path

from intaglio.audit.selection.result import Selection
from intaglio.report.kit.format import count, decimal, title
from intaglio.report.kit.thumbnails import Album
from intaglio.report.kit.views import Key, PageTable, PictureTablePage, Row, Shown
from intaglio.runs.read import RunData

MOST_ROWS, MOST_PICTURES = 300, 96
"""Rows of the table, and pictures of the page."""
LIMITS = (
    Row(
        "A prediction, not a training",
        "No model was trained. Train one on the chosen pictures and one on as many drawn at random, and compare both "
        "on pictures that neither saw.",
    ),
    Row(
        "Few targets say little",
        "The choice follows the targets closely; one for a handful of pictures may suit no other of their kind.",
    ),
)


def page_of(run: RunData, page_folder: Path) -> PictureTablePage | None:
    """The page of an `audit selection` run; None where nothing is finished yet."""
    found = Selection.load(run.folder)
    return None if found is None else selection_page(run, found, page_folder)


def selection_page(run: RunData, found: Selection, page_folder: Path) -> PictureTablePage:
    """The page of a result; `page_folder` is where it will lie."""
    shown = [(name, found.pictures[name]) for name in map(found.candidates.__getitem__, found.places)][:MOST_PICTURES]
    album = Album(page_folder, len(shown), run=run.folder)
    every = found.rows()
    rows = [
        [row["candidate"], decimal(row["weight"], 3) if row["chosen"] else "", decimal(row["score"], 3)]
        for row in every[:MOST_ROWS]
    ]
    left = len(every) - len(rows)
    return PictureTablePage(
        template="picture_table.html.j2",
        **title(run, f"{len(found.places)} of {count(len(found.candidates), 'candidate')} chosen"),
        lead=found.statement,
        keys=[
            Key("Chosen", f"{len(found.places)} of {len(found.candidates)}", ""),
            Key("Targets", str(len(found.target)), ""),
        ],
        warnings=run.warnings,
        table=PageTable("Candidates, the chosen first", ["candidate", "weight", "score"], rows),
        table_text=f"The score of a candidate is {found.reading}. The weights of the chosen ones add up to 1."
        + (f" {left} more are in selection.csv." if left > 0 else ""),
        pictures=[Shown(album.thumb(run.folder / path), name) for name, path in shown],
        limits=LIMITS,
    )
