"""The reports of marked pictures, and of marks that were looked for: a p-value a picture, and the pictures."""

from collections.abc import Sequence
from pathlib import Path

from intaglio.protect.fingerprint.result import OF_WHAT, FoundMark, MarkDetections, MarkedPictures, chance
from intaglio.report.kit.format import count, decibels, interval_text, rate_text, title
from intaglio.report.kit.thumbnails import Album
from intaglio.report.kit.views import Key, PageTable, PictureTablePage, Row, Shown
from intaglio.runs.read import RunData

MOST_ROWS, MOST_PICTURES = 300, 48
"""Rows of the table, and pictures of the page."""
SECRET = Row(
    "The key proves no author",
    "It proves that who marked the picture had the key. Whoever has the key’s file can mark other pictures with it.",
)
FORGED = Row(
    "A mark can be copied",
    "A mark in the noise can be carried over to another picture by who inverts a marked one and draws from what he "
    "finds, without the key; a mark in pixels by who copies the change.",
)
REMOVED = Row(
    "No mark is not unmarked",
    "JPEG, cropping, resizing and drawing anew take marks away, and a marked model with its old decoder leaves none; a "
    "picture that is not called may have carried one.",
)
OVER_KEYS = Row(
    "The rate holds over keys",
    "Of keys drawn at random few agree with a picture. With one key, pictures that read alike, such as flat ones, are "
    "called together or not at all; controls tell how it is with yours.",
)
NOT_QUITE = Row(
    "Inverted noise is not quite unit noise",
    "The p-values rest on it; only controls, unmarked pictures of the same kind, show the rate of false calls.",
)


def page_of(run: RunData, page_folder: Path) -> PictureTablePage | None:
    """The page of a `protect fingerprint` or `protect detect` run; None where nothing is finished yet."""
    if (marked := MarkedPictures.load(run.folder)) is not None:
        return marked_page(run, marked, page_folder)
    found = MarkDetections.load(run.folder)
    return None if found is None else detections_page(run, found)


def marked_page(run: RunData, marked: MarkedPictures, page_folder: Path) -> PictureTablePage:
    """The page of marked pictures; `page_folder` is where it will lie."""
    shown = marked.pictures[:MOST_PICTURES]
    album = Album(page_folder, len(shown), run=run.folder)
    figures = marked.figures()
    keys = [Key("Largest p", chance(figures["largest_p"]), f"of {OF_WHAT[marked.null]}")]
    if figures["bits"] is not None:
        keys.append(Key("Right bits", rate_text(figures["bits"]), "mean over the pictures"))
    if figures["psnr"] is not None:
        keys.append(Key("PSNR", decibels(figures["psnr"]), "mean over the pictures"))
    drawn = marked.pictures[0].prompt is not None
    further = [one.prompt or "" if drawn else decibels(one.psnr or 0.0) for one in marked.pictures[:MOST_ROWS]]
    rows = [
        [one.saved, chance(one.p), _bits(one.bits), more]
        for one, more in zip(marked.pictures[:MOST_ROWS], further, strict=True)
    ]
    return PictureTablePage(
        template="picture_table.html.j2",
        **title(run, f"{count(len(marked.pictures), 'picture')} marked"),
        lead=f"{marked.statement} The mark lies in {marked.reading}.",
        keys=keys,
        warnings=run.warnings,
        table=PageTable("Marks, read back", ["picture", "p", "right bits", "prompt" if drawn else "PSNR"], rows),
        table_text=_table_text(len(marked.pictures), "marked.csv"),
        pictures=[Shown(album.thumb(run.folder / "marked" / one.saved), one.prompt or one.saved) for one in shown],
        limits=_limits(marked.null),
    )


def detections_page(run: RunData, found: MarkDetections) -> PictureTablePage:
    """The page of a detection."""
    calls = sum(map(found.called, found.pictures))
    keys = [
        Key("Called", f"{calls} of {len(found.pictures)}", f"p at most {chance(found.fpr)}"),
        Key("Tried", count(found.users, "user"), count(found.seeds, "seed") if found.seeds > 1 else ""),
    ]
    if found.realised is not None:
        falsely, interval = found.realised
        keys.append(Key("Controls called", f"{falsely} of {len(found.controls)}", interval_text(interval)))
    ranked = sorted(found.pictures, key=lambda one: (one.p, one.name))
    rows = [_found_row(found, one) for one in ranked[:MOST_ROWS]]
    return PictureTablePage(
        template="picture_table.html.j2",
        **title(run, f"{calls or 'None'} of {count(len(found.pictures), 'picture')} called marked"),
        lead=f"{found.statement} The mark lies in {found.reading}.",
        keys=keys,
        warnings=run.warnings,
        table=PageTable("Marks, smallest p first", ["picture", "p", "verdict", "user", "seed", "right bits"], rows),
        table_text=_table_text(len(found.pictures), "detections.csv")
        + " It counts all users and seeds that were tried. The user is the likeliest of them, which is less sure than "
        "that the key is the right one.",
        pictures=(),
        limits=_limits(found.null),
    )


def _found_row(found: MarkDetections, one: FoundMark) -> list[str]:
    if not found.called(one):
        return [one.name, chance(one.p), "not told from unmarked", "", "", ""]
    return [one.name, chance(one.p), "marked", one.owner, "" if one.seed is None else str(one.seed), _bits(one.bits)]


def _bits(share: float | None) -> str:
    return "" if share is None else rate_text(share)


def _table_text(pictures: int, file: str) -> str:
    said = "p is the chance of so good an agreement without the mark."
    return said if pictures <= MOST_ROWS else f"{said} {pictures - MOST_ROWS} more are in {file}."


def _limits(null: str) -> Sequence[Row]:
    return (SECRET, FORGED, REMOVED, NOT_QUITE if null == "noise" else OVER_KEYS)
