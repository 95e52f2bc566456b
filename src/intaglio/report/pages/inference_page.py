"""The report of a check of answers: those that do not pass first, with the pictures that were asked about."""

from collections.abc import Sequence
from pathlib import Path

from intaglio.audit.inference.result import CheckedAnswers
from intaglio.report.kit.format import count, decimal, rate_text, title
from intaglio.report.kit.thumbnails import Album
from intaglio.report.kit.views import Key, PageTable, PictureTablePage, Row, Shown
from intaglio.runs.read import RunData

MOST_ROWS = 300
"""Rows of the table."""
LIMITS: Sequence[Row] = (
    Row(
        "The rate is of pictures like the known ones",
        "On other pictures the student may be further from the classifier, and its own answers fail more often.",
    ),
    Row(
        "A pass proves nothing",
        "An answer that is wrong by a little, or on a picture that both networks find hard, passes. A change that an "
        "attacker chose with the student at hand may pass as well.",
    ),
    Row(
        "Of the classifier, not of the truth",
        "Asked is whether the classifier would have said so, not whether that is right. A picture that was made to "
        "mislead it may mislead its student too.",
    ),
    Row(
        "What is put in place may be wrong",
        "It is a guess of the classifier's answer. Where much rests on it, ask the classifier itself.",
    ),
)


def page_of(run: RunData, page_folder: Path) -> PictureTablePage | None:
    """The page of an `audit inference` run; None where nothing is finished yet."""
    found = CheckedAnswers.load(run.folder)
    return None if found is None else inference_page(run, found, page_folder)


def inference_page(run: RunData, found: CheckedAnswers, page_folder: Path) -> PictureTablePage:
    """The page of a result; `page_folder` is where it will lie."""
    every = sorted(found.rows(), key=lambda row: (row["p"], row["picture"]))
    rows = [
        [
            row["picture"],
            "passes" if row["passes"] else "fails",
            decimal(row["p"], 3),
            f"{row['class']}, {decimal(row['probability'], 2)}",
            row["student_class"],
            "" if row["passes"] else row["repaired_class"],
        ]
        for row in every[:MOST_ROWS]
    ]
    failed, left = found.passes.count(False), len(every) - len(rows)
    album = Album(page_folder, len(found.pictures), run=run.folder)
    shown = [
        Shown(album.thumb(run.folder / found.pictures[row["picture"]]), f"{row['picture']}: {row['class']}")
        for row in every
        if row["picture"] in found.pictures and not row["passes"]
    ]
    return PictureTablePage(
        template="picture_table.html.j2",
        **title(run, f"{failed or 'None'} of {count(len(every), 'answer')} not the classifier's own"),
        lead=found.statement,
        keys=[
            Key("Failed", f"{failed} of {len(every)}", f"p at most {rate_text(found.rate)}"),
            Key("Held out", count(found.held, "picture"), "whose clean answers give the p-values"),
            Key(
                "Student",
                rate_text(found.agreement),
                f"of unseen pictures with the classifier's class, at {rate_text(found.cost)} of its multiplications",
            ),
        ],
        warnings=run.warnings,
        table=PageTable(
            "Answers, smallest p first", ["picture", "verdict", "p", "answer", "student", "in its place"], rows
        ),
        table_text=f"The method looks at {found.reading}. p is the share of the classifier's own answers, to held-out "
        "pictures, that are as unusual or more." + (f" {left} more are in checked_answers.csv." if left else ""),
        pictures=shown,
        limits=LIMITS,
    )
