"""The report of an explanation: each picture beside its heat map."""

from collections.abc import Sequence
from pathlib import Path

from intaglio.explain.result import Attributions, ExplainedPicture
from intaglio.report.kit.format import count, decimal, title
from intaglio.report.kit.thumbnails import Album
from intaglio.report.kit.views import Card, ExplainPage, Key, Row, Shown
from intaglio.runs.read import RunData

MOST_SHOWN = 60
"""Pictures on the page."""
KINDS = {"picture": "picture", "map": "map", "overlay": "map over the picture"}
"""Captions by the ends of the files' names."""
LIMITS: Sequence[Row] = (
    Row(
        "Of the network, not of the world",
        "A place is red as the network uses it, whether or not it should: a heat map can show that it looks at a mark "
        "in a corner, and not that this is wrong.",
    ),
    Row(
        "Another method gives another map",
        "Insertion and deletion compare them on the network itself. They favour methods that ask the network about "
        "parts of the picture, as they do so too.",
    ),
    Row(
        "Parts of pictures are strange pictures",
        "The network was never trained on pictures with blank parts; its score of one is no score of a picture without "
        "the thing.",
    ),
)


def page_of(run: RunData, page_folder: Path) -> ExplainPage | None:
    """The page of an `explain` run; None where nothing is finished yet."""
    found = Attributions.load(run.folder)
    return None if found is None else explain_page(run, found, page_folder)


def explain_page(run: RunData, found: Attributions, page_folder: Path) -> ExplainPage:
    """The page of a result; `page_folder` is where it will lie."""
    figures, shown = found.figures(), found.pictures[:MOST_SHOWN]
    album = Album(page_folder, len(KINDS) * len(shown), run=run.folder)
    kinds = sorted({one.blank for one in found.pictures})
    cards = [_card(run, found, place, one, album, len(kinds)) for place, one in enumerate(shown)]
    left = len(found.pictures) - len(shown)
    lowers = ", blue where it lowers it" if found.signed else ""
    return ExplainPage(
        template="explain.html.j2",
        **title(run, f"{count(len(found.pictures), 'picture')}: what the classifier looks at"),
        lead=found.statement,
        keys=[
            Key("Insertion", decimal(figures["insertion"], 2), "mean probability while revealed in the maps’ order"),
            Key("By chance", decimal(figures["chance"], 2), "the same in a random order"),
            Key("Deletion", decimal(figures["deletion"], 2), "mean probability while removed in the maps’ order"),
            Key("Passes", f"{figures['passes'] / len(found.pictures):,.0f}", "through the network for a picture’s map"),
        ],
        warnings=run.warnings,
        cards=cards,
        cards_text=f"A place is red where {found.reading}{lowers}. The colour is full at the value below which 99.5% "
        f"of a picture’s places lie. What is hidden becomes {' or '.join(kinds)}.",
        unshown=f"{left} more are in attributions.csv, with their maps in the folder images." if left else "",
        limits=LIMITS,
    )


def _card(run: RunData, found: Attributions, place: int, one: ExplainedPicture, album: Album, blanks: int) -> Card:
    """`blanks`: kinds of blanks of all pictures; the card names its own where there are several."""
    target, called = found.classes[one.target], found.classes[one.called]
    pictures = [
        Shown(album.thumb(run.folder / "images" / f"{place:04d}-{kind}.png"), words) for kind, words in KINDS.items()
    ]
    facts = [
        Row(found.score, decimal(one.score, 2)),
        Row("insertion", decimal(one.faithful.insertion, 2)),
        Row("by chance", decimal(one.faithful.chance, 2)),
        Row("deletion", decimal(one.faithful.deletion, 2)),
    ]
    remarks = [f"What is hidden becomes {one.blank}."] if blanks > 1 else []
    if one.target != one.called:
        remarks.append(f"The classifier calls it {called}.")
    if one.faithful.insertion <= one.faithful.chance:
        remarks.append("Revealed in the map's order it is seen no sooner than by chance: the map says nothing.")
    return Card(
        name=one.name,
        css="out" if one.target == one.called else "in",
        badge=target,
        pictures=pictures,
        facts=facts,
        score=decimal(one.score, 2),
        p_value="",
        truth=" ".join(remarks),
        wrong=one.faithful.insertion <= one.faithful.chance,
    )
