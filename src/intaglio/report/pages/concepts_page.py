"""The report of a search for concepts: a row of crops and maps each, the most important first."""

from collections.abc import Sequence
from pathlib import Path

from intaglio.explain.concepts.result import LETTERS, ConceptPart, Concepts, FoundConcept
from intaglio.report.kit.format import count, decimal, rate_text, title
from intaglio.report.kit.thumbnails import Album
from intaglio.report.kit.views import ConceptPage, Key, PageTable, Row, Shown
from intaglio.runs.read import RunData

LIMITS: Sequence[Row] = (
    Row(
        "Names are yours",
        "A concept is a direction of the network's features. What it is of, a person reads from the crops, and another "
        "may read it otherwise.",
    ),
    Row(
        "Of these pictures",
        "What they share is found, whether or not other pictures of the class do. Pictures that are called another "
        "class have their share.",
    ),
    Row(
        "Parts are of the crops",
        "A part says what the crops with most of a concept are of, at a layer that still tells these things apart. The "
        "score does not see parts, and what it would do without one of them is not asked.",
    ),
    Row(
        "Effects do not add up",
        "A total effect counts what a concept does together with others, for each of them; the sum may exceed 1. It is "
        "of concepts that are weakened, which no picture may ever show.",
    ),
)


def page_of(run: RunData, page_folder: Path) -> ConceptPage | None:
    """The page of an `explain concepts` run; None where nothing is finished yet."""
    found = Concepts.load(run.folder)
    return None if found is None else concepts_page(run, found, page_folder)


def concepts_page(run: RunData, found: Concepts, page_folder: Path) -> ConceptPage:
    """The page of a result; `page_folder` is where it will lie."""
    total = sum(len(one.examples) + len(one.maps) for _, one in found.shown())
    album = Album(page_folder, total, run=run.folder)
    first = found.concepts[0]
    return ConceptPage(
        template="audit_concept.html.j2",
        **title(run, f"{count(len(found.concepts), 'concept')} of {found.target}"),
        lead=found.statement,
        keys=[
            Key("First concept", decimal(first.importance, 2), f"total effect, 95% {_bounds(first)}"),
            Key("Explained", rate_text(1 - found.left), "of the variance of the crops’ features"),
            Key("Crops", f"{found.crops:,}", f"layer {found.layer}"),
        ],
        warnings=run.warnings,
        table=PageTable("Concepts", ["concept", "total effect", "95%", "most of it in"], found.told(3)),
        table_heading="Concepts, the most important first",
        table_text=f"A concept is {found.reading}. The strengths of all are drawn at random; a total effect is the "
        "share of the score’s variance that is left when all strengths but its own are known, as a mean over pictures."
        + _parted(found),
        pictures=[(_heading(found, label), _shown(run, one, label, album)) for label, one in found.shown()],
        pictures_text="The crops with most of each, then where it lies in pictures: red is more.",
        limits=LIMITS,
    )


def _bounds(one: FoundConcept) -> str:
    return f"{decimal(one.interval[0], 2)} to {decimal(one.interval[1], 2)}"


def _parted(found: Concepts) -> str:
    """Words on parts; none where no concept has any."""
    if not any(one.parts for one in found.concepts):
        return ""
    return (
        f" A letter is a part of the concept before it: what the tenth of crops with most of it are of by layer "
        f"{found.earlier}, and how many of them have most of this part."
    )


def _heading(found: Concepts, label: str) -> str:
    number = int(label.rstrip(LETTERS))
    one = found.concepts[number]
    if (letter := label[-1]) in LETTERS:
        share = one.parts[LETTERS.index(letter)].share
        return f"Concept {number}{letter}, {share:.0%} of the crops with most of concept {number}"
    told = f"Concept {number}, total effect {decimal(one.importance, 2)}"
    if one.spread is None or one.spread_left is None:
        return told
    return (
        f"{told}; one direction leaves {one.spread:.0%} of its crops’ features at layer {found.earlier}, "
        f"{count(len(one.parts), 'part')} {one.spread_left:.0%}"
    )


def _shown(run: RunData, one: FoundConcept | ConceptPart, label: str, album: Album) -> list[Shown]:
    images = run.folder / "images"
    crops = [Shown(album.thumb(images / f"{label}-crop-{k}.png"), name) for k, (name, *_) in enumerate(one.examples)]
    maps = [Shown(album.thumb(images / f"{label}-map-{k}.png"), f"in {name}") for k, name in enumerate(one.shown)]
    return [*crops, *maps]
