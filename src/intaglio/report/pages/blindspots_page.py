"""The report of a search for blind spots: warnings, the concepts that are named, and pictures as evidence."""

from collections.abc import Sequence
from pathlib import Path

from intaglio.explain.blindspots.audit import picture_name
from intaglio.explain.blindspots.result import BlindSpots, ConceptShift
from intaglio.report.kit.format import count, rate_text, title
from intaglio.report.kit.thumbnails import Album, Thumb
from intaglio.report.kit.views import ConceptPage, Key, PageTable, Row, Shown
from intaglio.runs.plain_json import safe_path
from intaglio.runs.read import RunData

MOST_SHOWN = 8
"""Concepts of either kind that are shown with pictures."""
LIMITS: Sequence[Row] = (
    Row(
        "Names are yours",
        "A concept is a direction of the network's features. Its label is only what the real pictures with most of it "
        "are called more often than others; what it is of, a person reads from the pictures.",
    ),
    Row(
        "Of these prompts, at this guidance",
        "Guidance changes what is drawn, and with it the blind spots: look at several scales before you say that a "
        "model cannot draw something.",
    ),
    Row(
        "The network's eyes",
        "What the network does not tell apart is no concept here. One that was trained on other pictures may read "
        "drawings wrongly.",
    ),
    Row(
        "Too little is not never",
        "A suppressed concept has less energy in all generated pictures together. It may still be drawn well in some.",
    ),
    Row(
        "Near is not copied",
        "The nearest pairs have alike codes, as simple pictures of one prompt do. Whether a training picture was "
        "memorised is for extract and audit prompts.",
    ),
)


def page_of(run: RunData, page_folder: Path) -> ConceptPage | None:
    """The page of an `explain blindspots` run; None where nothing is finished yet."""
    found = BlindSpots.load(run.folder)
    return None if found is None else blindspots_page(run, found, page_folder)


def blindspots_page(run: RunData, found: BlindSpots, page_folder: Path) -> ConceptPage:
    """The page of a result; `page_folder` is where it will lie."""
    few, many, blurred = (found.found(verdict) for verdict in ("suppressed", "exaggerated", "autoencoder"))
    shown = [*few[:MOST_SHOWN], *many[:MOST_SHOWN]]
    total = sum(len(one.most_real) + len(one.most_generated) for one in shown) + 2 * len(found.copied)
    album = Album(page_folder, total, run=run.folder)
    places = {one.number: place for place, one in enumerate(found.shifts)}
    rows = [_row(found, one, places[one.number]) for one in (*few, *many, *blurred)]
    pictures = [(_heading(one), _evidence(run, one, album)) for one in shown]
    if found.copied:
        pictures.append(("Pairs with the nearest codes", _copied(run, found, album)))
    known = "decoded" in found.sums
    return ConceptPage(
        template="audit_concept.html.j2",
        **title(run, f"{len(few)} suppressed, {len(many)} exaggerated"),
        lead=found.statement,
        keys=[
            Key("Suppressed", f"{len(few)}", f"of {count(len(found.shifts), 'concept')}"),
            Key("Exaggerated", f"{len(many)}", f"rate of false ones {rate_text(found.rate)}"),
            Key("Autoencoder’s part", f"{len(blurred)}" if known else "unknown", "not counted as the model’s"),
            Key("Pairs", f"{found.pairs:,}", f"layer {found.layer}"),
            *([] if found.left is None else [Key("Explained", rate_text(1 - found.left), "of the features’ variance")]),
        ],
        warnings=run.warnings,
        table=PageTable(
            "Concepts",
            ["concept", "is", "delta", "log ratio", "95%", "q", "autoencoder", "label", "most of it in", "comes with"],
            rows,
        ),
        table_heading="Concepts that are named",
        table_text=f"A concept is {found.reading}. {_rule(found)} The log ratio is of its mean strength in generated "
        "pictures over that in real ones; the column autoencoder has the same for real pictures that were only encoded "
        "and decoded. q is the false-discovery rate at which the concept is found, by swapping the pictures within "
        "pairs. The last column has the concept that it comes with most in real pictures, with the cosine there and "
        "in generated ones.",
        pictures=pictures,
        pictures_text="Of each concept the real pictures with most of it, then the generated ones.",
        limits=LIMITS,
    )


def _rule(found: BlindSpots) -> str:
    if found.rule == "difference":
        return "Delta is a logistic function of the difference of its energies."
    return (
        "Delta is the generated pictures’ part of both energies, 0.5 where they are alike; a concept is named where "
        f"one is {found.ratio:g} times the other or more."
    )


def _row(found: BlindSpots, one: ConceptShift, place: int) -> list[str]:
    partner = found.partner(place)
    return [
        str(one.number),
        one.verdict if one.verdict != "autoencoder" else "the autoencoder’s",
        f"{one.delta:.2f}",
        _signed(one.log_ratio),
        f"{_signed(one.interval[0])} to {_signed(one.interval[1])}",
        f"{one.q:.3f}",
        "–" if one.control is None else _signed(one.control),
        "–" if one.label is None or one.purity is None else f"{one.label} (+{one.purity:.0%})",
        one.most_real[0] if one.most_real else "–",
        "–" if partner is None else f"{partner[0]}: {partner[1]:.2f}, {partner[2]:.2f}",
    ]


def _signed(number: float) -> str:
    return f"{number:+.2f}".replace("-", "−")


def _heading(one: ConceptShift) -> str:
    return f"Concept {one.number}, {one.verdict}: log ratio {_signed(one.log_ratio)}"


def _evidence(run: RunData, one: ConceptShift, album: Album) -> list[Shown]:
    kinds = (("real", one.most_real), ("generated", one.most_generated))
    return [Shown(_thumb(run, part, name, album), f"{part}: {name}") for part, names in kinds for name in names]


def _copied(run: RunData, found: BlindSpots, album: Album) -> list[Shown]:
    shown = []
    for name, apart, rank in found.copied:
        shown.append(Shown(_thumb(run, "real", name, album), f"real: {name}"))
        told = f"generated: distance {apart:.2f}, its own is real picture no. {rank} by distance"
        shown.append(Shown(_thumb(run, "generated", name, album), told))
    return shown


def _thumb(run: RunData, part: str, name: str, album: Album) -> Thumb | None:
    return album.thumb(run.folder / "images" / f"{safe_path(picture_name(part, name))}.png")
