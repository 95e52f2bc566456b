"""The report of directions of a denoiser: pictures of fixed seeds led along each, beside a random one."""

from collections.abc import Sequence
from pathlib import Path

from intaglio.explain.directions.result import LedPictures
from intaglio.report.kit.format import count, decimal, title
from intaglio.report.kit.thumbnails import Album
from intaglio.report.kit.views import ConceptPage, Key, PageTable, Row, Shown
from intaglio.runs.read import RunData

LIMITS: Sequence[Row] = (
    Row(
        "Names are yours",
        "A direction is a shift of activations. What changes along it a person reads from the pictures, and another "
        "may read it otherwise.",
    ),
    Row(
        "Change is not meaning",
        "Any shift that is long enough changes a picture. Compare with the random direction, which is as long as the "
        "first at every step.",
    ),
    Row(
        "Of this model and these steps",
        "Directions hold for the site, the steps and the guidance that they were found with; of other prompts they may "
        "change something else.",
    ),
)


def page_of(run: RunData, page_folder: Path) -> ConceptPage | None:
    """The page of an `explain directions` run; None where nothing is finished yet."""
    found = LedPictures.load(run.folder)
    return None if found is None else directions_page(run, found, page_folder)


def directions_page(run: RunData, found: LedPictures, page_folder: Path) -> ConceptPage:
    """The page of a result; `page_folder` is where it will lie."""
    about = found.directions
    album = Album(page_folder, len(found.names) * len(found.seeds) * len(found.strengths), run=run.folder)
    followed = f" A score is the classifier’s log-odds of {found.target}." if found.target else ""
    drawn = f"{about.steps} steps, guidance {about.guidance:g}"
    return ConceptPage(
        template="audit_concept.html.j2",
        **title(run, f"{count(about.count, 'direction')} of {about.site}"),
        lead=found.statement,
        keys=[
            Key("Site", about.site, drawn),
            Key("Strengths", f"{decimal(found.strengths[0])} to {decimal(found.strengths[-1])}", f"1 is {about.unit}"),
            Key(
                "Pictures", str(len(found.seeds)), "of seeds that no direction was found in" if not about.seeds else ""
            ),
        ],
        warnings=run.warnings,
        table=PageTable("Directions", _heads(found), [_cells(found, row) for row in found.rows()]),
        table_heading="Directions, and a random one",
        table_text=f"A direction is {about.reading}.{followed} Similarity is that of pictures at the outermost "
        "strengths with the same ones led nowhere, by an encoder.",
        pictures=[
            (
                f"{name.capitalize()}, picture {k + 1}: {found.prompts[k] or 'no prompt'}",
                _shown(run, found, d, k, album),
            )
            for d, name in enumerate(found.names)
            for k in range(len(found.seeds))
        ],
        pictures_text="Each row is one seed, by the strength of the direction; 0 is the picture that is led nowhere.",
        limits=LIMITS,
    )


def _heads(found: LedPictures) -> list[str]:
    own = [found.directions.number] if found.directions.number else []
    halves = ["halves agree"] if any(value == value for value in found.directions.agreement) else []
    followed = [f"change of {found.target}", "95%", "rank correlation"] if found.target else []
    return ["direction", *own, *halves, "similarity kept", *followed]


def _cells(found: LedPictures, row: dict) -> list[str]:
    own = [_number(row["number"])] if found.directions.number else []
    halves = [_number(row["agreement"])] if any(value == value for value in found.directions.agreement) else []
    followed = []
    if found.target:
        bounds = f"{decimal(row['change_low'], 2)} to {decimal(row['change_high'], 2)}"
        followed = [decimal(row["change"], 2), bounds, decimal(row["spearman"], 2)]
    return [row["direction"], *own, *halves, decimal(row["similarity"], 2), *followed]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _shown(run: RunData, found: LedPictures, d: int, k: int, album: Album) -> list[Shown]:
    images = run.folder / "images"
    names = [f"{d}-{a}-{k}" if level else f"plain-{k}" for a, level in enumerate(found.strengths)]
    return [
        Shown(album.thumb(images / f"{name}.png"), decimal(level))
        for name, level in zip(names, found.strengths, strict=True)
    ]
