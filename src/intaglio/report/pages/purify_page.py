"""The report of cleaned pictures: what each lost, and the pictures."""

from pathlib import Path

from intaglio.protect.purify.result import PurifiedPictures
from intaglio.report.kit.format import count, decibels, decimal, title
from intaglio.report.kit.thumbnails import Album
from intaglio.report.kit.views import Key, PageTable, PictureTablePage, Row, Shown
from intaglio.runs.read import RunData

MOST_ROWS, MOST_PICTURES = 300, 48
"""Rows of the table, and pictures of the page."""
LIMITS = (
    Row(
        "Clean is not proven",
        "That a picture was cleaned does not say that the protection or the mark is gone: protect evaluate and protect "
        "detect measure that.",
    ),
    Row("What else is lost", "PSNR and SSIM count every change alike; look at the pictures too."),
)


def page_of(run: RunData, page_folder: Path) -> PictureTablePage | None:
    """The page of a `protect purify` run; None where nothing is finished yet."""
    found = PurifiedPictures.load(run.folder)
    return None if found is None else purify_page(run, found, page_folder)


def purify_page(run: RunData, found: PurifiedPictures, page_folder: Path) -> PictureTablePage:
    """The page of a result; `page_folder` is where it will lie."""
    shown = found.pictures[:MOST_PICTURES]
    album, figures = Album(page_folder, len(shown), run=run.folder), found.figures()
    rows = [
        [one.saved, str(one.largest_difference), "" if one.psnr is None else decibels(one.psnr), decimal(one.ssim, 3)]
        for one in found.pictures[:MOST_ROWS]
    ]
    left = len(found.pictures) - len(rows)
    return PictureTablePage(
        template="picture_table.html.j2",
        **title(run, f"{count(len(found.pictures), 'picture')} {found.words}"),
        lead=found.statement,
        keys=[
            Key("PSNR", "-" if figures["psnr"] is None else decibels(figures["psnr"]), "mean over the pictures"),
            Key("SSIM", decimal(figures["ssim"], 3), "1 is no change"),
        ],
        warnings=run.warnings,
        table=PageTable("What each lost", ["picture", "largest change", "PSNR", "SSIM"], rows),
        table_text="Changes are against the picture as it was given."
        + (f" {left} more are in purified.csv." if left > 0 else ""),
        pictures=[Shown(album.thumb(run.folder / "purified" / one.saved), one.saved) for one in shown],
        limits=LIMITS,
    )
