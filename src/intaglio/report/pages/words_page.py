"""The report of maps of words: for each word the places of the drawn pictures that it is about."""

from collections.abc import Sequence
from pathlib import Path

from intaglio.explain.words.result import WordMaps
from intaglio.report.kit.format import count, decimal, title
from intaglio.report.kit.thumbnails import Album
from intaglio.report.kit.views import ConceptPage, Key, PageTable, Row, Shown
from intaglio.runs.read import RunData

MOST_SHOWN = 4
"""Pictures on the page."""
LIMITS: Sequence[Row] = (
    Row(
        "Looked at is not drawn",
        "A place may look at a word without anything coming of it, and what a word does may come through other tokens, "
        "into which the text encoder wrote it.",
    ),
    Row(
        "Without a word, at these latents",
        "The effect is that of leaving the word out at one step. The picture that a prompt without the word would lead "
        "to from the start is another.",
    ),
    Row("Of these seeds", "Other pictures of the prompt can have the word elsewhere."),
)


def page_of(run: RunData, page_folder: Path) -> ConceptPage | None:
    """The page of an `explain words` run; None where nothing is finished yet."""
    found = WordMaps.load(run.folder)
    return None if found is None else words_page(run, found, page_folder)


def words_page(run: RunData, found: WordMaps, page_folder: Path) -> ConceptPage:
    """The page of a result; `page_folder` is where it will lie."""
    seeds, figures = found.seeds[:MOST_SHOWN], found.figures()
    album = Album(page_folder, len(seeds) * (1 + 2 * len(found.words)), run=run.folder)
    others = figures["with_other_words"]
    return ConceptPage(
        template="audit_concept.html.j2",
        **title(run, f"{count(len(found.words), 'word')} of “{found.prompt}”"),
        lead=found.statement,
        keys=[
            Key("Agreement", decimal(figures["agreement"], 2), "rank correlation with the effect of the word"),
            Key("With other words", "–" if others is None else decimal(others, 2), "the same with their effects"),
            Key("Pictures", f"{figures['pictures']:,}", "drawn from the prompt"),
        ],
        warnings=run.warnings,
        table=PageTable("Words", ["word", "agreement", "with other words", "effect"], _rows(found)),
        table_heading="Words",
        table_text="Agreement is the rank correlation, over places, of a word’s map with the change of the predicted "
        "picture when the word is left out, a mean over pictures; beside it stands that with the changes of the other "
        "words, and how large the word’s own is.",
        pictures=[
            ("Pictures", [_shown(run, album, f"{seed}-picture", f"seed {seed}") for seed in seeds]),
            *((f"“{word}”", _of_word(run, album, seeds, k)) for k, word in enumerate(found.words)),
        ],
        pictures_text=f"A place is red where {found.reading}; beside it, where the predicted picture changes when the "
        "word is left out. Each map has a scale of its own, white at its least value.",
        limits=LIMITS,
    )


def _rows(found: WordMaps) -> list[list[str]]:
    return [
        [
            row["word"],
            decimal(row["agreement"], 2),
            "–" if row["with_other_words"] is None else decimal(row["with_other_words"], 2),
            decimal(row["effect"], 3),
        ]
        for row in found.rows()
    ]


def _of_word(run: RunData, album: Album, seeds: Sequence[int], number: int) -> list[Shown]:
    kinds = {"map": "map", "effect": "left out"}
    return [
        _shown(run, album, f"{seed}-{number:02d}-{kind}", f"seed {seed}, {words}")
        for seed in seeds
        for kind, words in kinds.items()
    ]


def _shown(run: RunData, album: Album, name: str, caption: str) -> Shown:
    return Shown(album.thumb(run.folder / "images" / f"{name}.png"), caption)
