"""The report of an edit that evens out values: their shares before and after, and pictures of fixed seeds."""

from collections.abc import Sequence
from pathlib import Path

from intaglio.explain.bias.result import PARTS, EvenedValues
from intaglio.report.kit.format import count, title
from intaglio.report.kit.thumbnails import Album
from intaglio.report.kit.views import ConceptPage, Key, PageTable, Row, Shown
from intaglio.runs.read import RunData

MOST_SHOWN = 12
"""Pictures of each part on the page."""
LIMITS: Sequence[Row] = (
    Row(
        "The classifier’s eyes",
        "Shares are a classifier’s. It can be wrong in pictures that an edit has changed, and an edit that fools it "
        "evens out its answers alone: look at the pictures.",
    ),
    Row(
        "Of these prompts and seeds",
        "Another prompt has another unevenness. The edit does not know how uneven a model is: it leads all pictures, "
        "and values that are rare stay rare where it is too weak.",
    ),
    Row(
        "Even among the given values",
        "What is none of the values is left out of the shares. Its probability is told beside them.",
    ),
    Row(
        "Words may do better",
        "Where a prompt may name the value, that is the plain way to choose it. An edit is for values that no word "
        "leads to.",
    ),
)
HEADS = {"before": "Before", "after": "After the edit", "by_chance": "By chance"}


def page_of(run: RunData, page_folder: Path) -> ConceptPage | None:
    """The page of an `explain bias` run; None where nothing is finished yet."""
    found = EvenedValues.load(run.folder)
    return None if found is None else bias_page(run, found, page_folder)


def bias_page(run: RunData, found: EvenedValues, page_folder: Path) -> ConceptPage:
    """The page of a result; `page_folder` is where it will lie."""
    shown = min(MOST_SHOWN, len(found.seeds))
    album, figures = Album(page_folder, shown * len(PARTS), run=run.folder), found.figures()
    change, low, high = (_two(figures[name]) for name in ("change", "change_low", "change_high"))
    seen = [] if figures["right_before"] is None else [_right(figures)]
    inside = [] if figures["told"] is None else [Key("The site tells", _two(figures["told"]), _chance(found))]
    return ConceptPage(
        template="audit_concept.html.j2",
        **title(run, f"{count(len(found.values), 'value')} of {found.attribute}, at {found.site}"),
        lead=found.statement,
        keys=[
            Key("Bias before", _two(figures["bias_before"]), f"an even model: up to {_two(found.even)}"),
            Key("After", _two(figures["bias_after"]), f"change {change}, 95% {low} to {high}"),
            Key("By chance", _two(figures["bias_by_chance"]), found.chance),
            Key("Similarity", _two(figures["kept"]), "with the picture before"),
            *seen,
            *inside,
        ],
        warnings=run.warnings,
        table=PageTable("Values", ["value", "before", "after", "by chance", "samples", "carried by"], _rows(found)),
        table_heading="Shares of the values",
        table_text=f"Shares are means of the classifier’s probabilities over {len(found.seeds)} pictures, among the "
        f"values; anything else has {_two(found.others[0])} before and "
        f"{_two(found.others[1])} after. The bias is the distance of these shares from even ones. A "
        f"picture is led by {found.reading}; {found.hits:.0%} show the value that they were led to. "
        f"Drawn in {found.steps} steps, guidance {found.guidance:g}.",
        pictures=[
            (HEADS[part], [_shown(run, found, place, k, album) for k in range(shown)])
            for place, part in enumerate(PARTS)
        ],
        pictures_text="The same seeds in each row. A caption has the prompt and the likeliest value; of edited "
        "pictures also the value that they were led to.",
        limits=LIMITS,
    )


def _two(value: float) -> str:
    """A number with two places after the point."""
    return f"{value:.2f}".replace("-", "−")


def _right(figures: dict) -> Key:
    before, after = (f"{100 * figures[f'right_{part}']:.0f}%" for part in ("before", "after"))
    return Key("Called what they should be", after, f"{before} before")


def _chance(found: EvenedValues) -> str:
    return f"balanced accuracy of the values, {1 / len(found.values):.2f} by chance"


def _rows(found: EvenedValues) -> list[list[str]]:
    return [
        [row["value"], *(_two(row[part]) for part in PARTS), str(row["samples"]), row["carried_by"]]
        for row in found.rows()
    ]


def _shown(run: RunData, found: EvenedValues, place: int, k: int, album: Album) -> Shown:
    likeliest = found.values[int(found.shares[place, k].argmax())]
    led = f", led to {found.values[int(found.towards[k])]}" if place else ""
    text = found.prompts[k] or "no prompt"
    return Shown(album.thumb(run.folder / "images" / f"{PARTS[place]}-{k}.png"), f"{text}: {likeliest}{led}")
