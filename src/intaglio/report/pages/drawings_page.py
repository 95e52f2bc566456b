"""The report of a check of drawings: the pictures that were drawn again, and the chance that fakes were missed."""

from collections.abc import Sequence
from pathlib import Path

from intaglio.audit.inference.drawings.result import LEVEL, CheckedDrawings
from intaglio.report.kit.format import count, decimal, rate_text, title
from intaglio.report.kit.views import Key, PageTable, PictureTablePage, Row
from intaglio.runs.read import RunData

MOST_ROWS = 300
"""Rows of the table."""
LIMITS: Sequence[Row] = (
    Row(
        "The lot must be unforeseen",
        "The chances hold where the maker of the pictures could not know which would be looked at. Take a seed that is "
        "chosen after the pictures have come.",
    ),
    Row(
        "The settings are the picture's own",
        "A picture that says it was drawn in few steps, and was, is what it says. Look whether prompt, steps and "
        "guidance are those that were ordered.",
    ),
    Row(
        "A little cheaper may pass",
        "A model in fewer bits can lie within the tolerance. On the machine of the drawing the tolerance may be 0.",
    ),
    Row(
        "The machine counts",
        "Other machines and versions round otherwise. Many pictures that lie a little above the tolerance speak for "
        "another machine, not for fakes.",
    ),
)


def page_of(run: RunData, page_folder: Path) -> PictureTablePage | None:
    """The page of an `audit drawings` run; None where nothing is finished yet."""
    found = CheckedDrawings.load(run.folder)
    return None if found is None else drawings_page(run, found)


def drawings_page(run: RunData, found: CheckedDrawings) -> PictureTablePage:
    """The page of a result."""
    every = sorted(found.rows(), key=lambda row: (-row["distance"], row["picture"]))
    rows = [
        [row["picture"], "the same" if row["same"] else "another", decimal(row["distance"], 3)]
        for row in every[:MOST_ROWS]
    ]
    fakes, checked, left = len(found.fakes), len(found.drawings), len(every) - len(rows)
    misses = ", ".join(f"{rate_text(chance)} for {number}" for number, chance in found.misses())
    missed = (
        "" if checked == found.pictures else f" The chance that no fake would have been chosen: {misses} among all."
    )
    return PictureTablePage(
        template="picture_table.html.j2",
        **title(
            run, f"{fakes} of {count(checked, 'picture')} drawn again {'is another' if fakes == 1 else 'are others'}"
        ),
        lead=found.statement,
        keys=[
            Key("Drawn again", f"{checked} of {found.pictures}", "chosen by lot"),
            Key(
                "Another picture",
                str(fakes),
                f"farther apart than the tolerance, {decimal(found.tolerance, 2)} of 255 grey levels",
            ),
            Key("Fakes at most", str(found.most_fakes), f"of all {found.pictures}, with {rate_text(LEVEL)} confidence"),
        ],
        warnings=run.warnings,
        table=PageTable(
            "Pictures drawn again, the farthest first", ["picture", "drawn now", "grey levels apart"], rows
        ),
        table_text=f"The distance is {found.reading}.{missed}"
        + (f" {left} more are in checked_drawings.csv." if left else ""),
        pictures=(),
        limits=LIMITS,
    )
