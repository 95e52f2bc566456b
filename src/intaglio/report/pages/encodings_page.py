"""The report of encodings: a table of slots, and drawings with slots swapped between two pictures."""

from collections.abc import Sequence
from pathlib import Path

from intaglio.explain.encodings.result import IMAGES, PictureEncodings
from intaglio.report.kit.format import count, title
from intaglio.report.kit.thumbnails import Album
from intaglio.report.kit.views import ConceptPage, Key, PageTable, Row, Shown
from intaglio.runs.read import RunData

CAPTIONS = {
    "first": "{0}, from its numbers",
    "second": "{1}, from its numbers",
    "early": "{0}, early slots of {1}",
    "late": "{0}, late slots of {1}",
    "whole": "{0}, all numbers of {1}",
}
"""By the drawing's name; of the first picture and the second."""
LIMITS: Sequence[Row] = (
    Row(
        "Lost to noise, not meant by people",
        "A slot has what noise of its levels takes away from the denoiser’s sight. That need not be what a word names, "
        "and a label may be read from several slots.",
    ),
    Row(
        "By a linear probe",
        "Labels are read by logistic regression. Chance has it right as often as one in so many labels; slots of more "
        "numbers have an advantage that is not their noise levels’ alone.",
    ),
    Row(
        "From noise, not from the picture",
        "Drawings begin at the noise of a seed, the same for both pictures of a pair. What the numbers do not tell is "
        "the denoiser’s own choice, and a short training tells little.",
    ),
)


def page_of(run: RunData, page_folder: Path) -> ConceptPage | None:
    """The page of an `explain encodings` run; None where nothing is finished yet."""
    found = PictureEncodings.load(run.folder)
    if found is None:
        return None
    share, (low, high) = found.all_made_up
    pairs, (head, *lines) = len(found.pairs) // 2, found.lines()
    album = Album(page_folder, pairs * (2 + len(found.drawings)), run=run.folder)
    return ConceptPage(
        template="audit_concept.html.j2",
        **title(run, f"{count(found.slots.numbers, 'number')} of {count(len(found.names), 'picture')}"),
        lead=found.statement,
        keys=[
            Key("Made up", f"{share:z.1%}", f"of the error for unseen pictures, 95% {low:z.1%} to {high:z.1%}"),
            *(
                Key(one.column, f"{one.accuracies[-1]:.2f}", f"read from all numbers; {one.chance:.2f} by chance")
                for one in found.labels
            ),
        ],
        warnings=run.warnings,
        table=PageTable("Slots", list(head), [list(line) for line in lines]),
        table_heading="Slots of noise levels",
        table_text=f"At a timestep are given {found.reading}. Made up is the share of the frozen denoiser’s error that "
        "goes with them, for pictures that were not taught. Confused is the probability that noise of the slot’s last "
        "timestep confuses two pictures, a mean over their principal directions. Labels: balanced accuracy from the "
        "numbers of the slot alone.",
        pictures=[(f"Pair {pair + 1}", _pair(run, found, pair, album)) for pair in range(pairs)],
        pictures_text="Both pictures of a pair, then drawings from their numbers, all from one noise; the first "
        "picture’s numbers with those of some slots taken from the second.",
        limits=LIMITS,
    )


def _pair(run: RunData, found: PictureEncodings, pair: int, album: Album) -> list[Shown]:
    names, folder = found.pairs[2 * pair : 2 * pair + 2], run.folder / IMAGES
    pictures = [(f"original-{k}", name) for k, name in enumerate(names)]
    pictures += [(drawing, CAPTIONS[drawing].format(*names)) for drawing in found.drawings]
    return [Shown(album.thumb(folder / f"{pair}-{name}.png"), caption) for name, caption in pictures]
