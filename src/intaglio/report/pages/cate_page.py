"""The report of effects that differ between units: what treating those ranked first is worth, and who they are."""

from collections.abc import Sequence
from pathlib import Path

from intaglio.causal.cate.result import UnitEffects
from intaglio.report.kit.format import count, decimal, title
from intaglio.report.kit.thumbnails import Album
from intaglio.report.kit.views import ConceptPage, Key, PageTable, Row, Shown
from intaglio.runs.read import RunData

SHOWN = 6
"""Pictures of either end."""
HEADINGS = {"first": "Ranked first", "last": "Ranked last"}
LIMITS: Sequence[Row] = (
    Row(
        "Of this trial",
        "Effects are of units like these, treated as these were. Treatment must have been drawn at random with the "
        "propensities that were given.",
    ),
    Row(
        "Who, and not why",
        "A picture tells who gains more. That what it shows makes them gain is not said; something that comes with it "
        "may.",
    ),
    Row(
        "Single effects are not known",
        "No unit was both treated and not. What is tested is the ranking, and means over many units.",
    ),
)


def page_of(run: RunData, page_folder: Path) -> ConceptPage | None:
    """The page of a `causal cate` run; None where nothing is finished yet."""
    found = UnitEffects.load(run.folder)
    if found is None:
        return None
    album = Album(page_folder, 2 * SHOWN, run=run.folder)
    low, high = found.mean.interval
    ahead = found.autoc.interval
    return ConceptPage(
        template="audit_concept.html.j2",
        **title(run, f"Effects on {count(len(found.names), 'unit')}"),
        lead=found.statement,
        keys=[
            Key("Mean effect", decimal(found.mean.value, 3), f"95% {decimal(low, 3)} to {decimal(high, 3)}"),
            Key("AUTOC", decimal(found.autoc.value, 3), f"95% {decimal(ahead[0], 3)} to {decimal(ahead[1], 3)}"),
            Key(
                "Slope",
                decimal(found.slope.value, 2),
                f"of scores on predicted effects, 95% {_slope(found)}; 1 is right",
            ),
        ],
        warnings=run.warnings,
        table=PageTable(
            "Ranking",
            ["ranked first", "mean effect", "above all"],
            [[f"{share:.0%}", decimal(mean, 3), decimal(more, 3)] for share, mean, more in found.shares()],
        ),
        table_heading="If those ranked first are treated",
        table_text=f"An effect is {found.reading}. Means are of doubly robust scores, of units that the predictions "
        "were not learnt from; AUTOC is the area under the last column.",
        pictures=_pictures(found, run, album),
        pictures_text="With the predicted effect of each; units are ranked within their folds.",
        limits=LIMITS,
    )


def _slope(found: UnitEffects) -> str:
    low, high = found.slope.interval
    return f"{decimal(low, 2)} to {decimal(high, 2)}"


def _pictures(found: UnitEffects, run: RunData, album: Album) -> list[tuple[str, list[Shown]]]:
    images = run.folder / "images"
    if not images.is_dir():
        return []
    return [
        (
            HEADINGS[kind],
            [
                Shown(album.thumb(images / f"{kind}-{k}.png"), f"{row['unit']}, {decimal(row['effect'], 3)}")
                for k, row in enumerate(rows)
            ],
        )
        for kind, rows in found.ends(SHOWN).items()
    ]
