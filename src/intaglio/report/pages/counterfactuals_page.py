"""The report of attributes that were set: pictures before and after, and values as told and as measured."""

from collections.abc import Sequence
from math import isnan
from pathlib import Path
from typing import Any

from intaglio.explain.counterfactuals.result import PARTS, Counterfactuals
from intaglio.report.kit.format import count, title
from intaglio.report.kit.thumbnails import Album
from intaglio.report.kit.views import ConceptPage, Key, PageTable, Row, Shown
from intaglio.runs.read import RunData

MOST_SHOWN = 24
"""Pictures on the page, each before and after."""
LIMITS: Sequence[Row] = (
    Row(
        "The graph is given",
        "What follows what is set is what the graph says, and how much is learnt from the pictures as if nothing else "
        "caused both. Under another graph, or a hidden common cause, the pictures are others and look as good.",
    ),
    Row(
        "Of pictures that were learnt",
        "The pictures that are shown, and all figures, are of pictures that the networks learnt from, those of labels "
        "that were held out apart. On others both may be worse.",
    ),
    Row(
        "Values that never stood together",
        "A value far from those that pictures of such other attributes had was never seen: the picture is then a guess "
        "of the network, and what is told of it is not tested by any real one.",
    ),
    Row(
        "Measured is not true",
        "A measure is brought to the attribute’s units by a line through the pictures. What it says of a picture that "
        "is drawn badly is of the flaws too.",
    ),
)
HEADS = {"original": "as given", "before": "drawn again", "after": "after"}


def page_of(run: RunData, page_folder: Path) -> ConceptPage | None:
    """The page of an `explain counterfactuals` run; None where nothing is finished yet."""
    found = Counterfactuals.load(run.folder)
    if found is None:
        return None
    shown = min(MOST_SHOWN, len(found.pictures))
    album, rows = Album(page_folder, shown * len(PARTS), run=run.folder), found.attribute_rows()
    return ConceptPage(
        template="audit_concept.html.j2",
        **title(run, f"{found.asked} in {count(len(found.pictures), 'picture')}"),
        lead=found.statement,
        keys=[_key(row) for row in rows],
        warnings=run.warnings,
        table=PageTable(
            "Attributes",
            ["attribute", "caused by", "set to", "before", "after", "read off by", "measured after", "off by", "95%"],
            [_cells(row) for row in rows],
        ),
        table_heading="Attributes",
        table_text=f"Means over {count(len(found.pictures), 'picture')}, learnt from {found.learnt_from} with labels "
        f"of {found.taught}, in the table’s units. Attributes that are not set {found.reading}. “Read off by” is the "
        f"mean distance of values from the table’s, as read off {_judges(found)}; “off by” that of measured values "
        f"from told ones after the change, as shares of an attribute’s range. {_own_errors(found, rows)}",
        pictures=[(found.pictures[n], _shown(found, run, n, album)) for n in range(shown)],
        pictures_text="Each picture as given, drawn again from what was read off it, and after the change, from the "
        "same noise.",
        limits=LIMITS,
    )


def _key(row: dict[str, Any]) -> Key:
    value = f"{row['before']:.3g} → {row['after']:.3g}"
    return Key(row["attribute"], value, "set" if row["set"] is not None else "told, on average")


def _cells(row: dict[str, Any]) -> list[str]:
    causes = ", ".join(row["causes"]) or "-"
    told = [_number(row["set"]), _number(row["before"]), _number(row["after"]), f"{row['misread']:.2f}"]
    if "error_after" not in row:
        return [row["attribute"], causes, *told, "-", "-", "-"]
    low, high = row["error_after_interval"]
    seen = [_number(row["measured_after"]), f"{row['error_after']:.2f}", f"{low:.2f} to {high:.2f}"]
    return [row["attribute"], causes, *told, *seen]


def _judges(found: Counterfactuals) -> str:
    """The pictures by whose labels reading is judged."""
    own = " whose labels were held out" if found.held.any() else ""
    return f"{count(int(found.judges.sum()), 'picture')}{own}"


def _own_errors(found: Counterfactuals, rows: Sequence[dict[str, Any]]) -> str:
    """The errors of the measures themselves, and of pictures that are drawn again as they are."""
    told = [
        f"{rows[k]['attribute']} by {found.measures[k]}, {rows[k]['error_original']:.2f} in the given pictures and "
        f"{rows[k]['error_before']:.2f} in those drawn again"
        for k in found.measured_places
    ]
    return f"The measures are off themselves: {'; '.join(told)}." if told else ""


def _shown(found: Counterfactuals, run: RunData, n: int, album: Album) -> list[Shown]:
    told = {"original": found.labels[n], "before": found.before[n], "after": found.after[n]}
    return [
        Shown(
            album.thumb(run.folder / "images" / f"{part}-{n}.png"),
            f"{HEADS[part]}: {_values(found, told[part].tolist())}",
        )
        for part in PARTS
    ]


def _values(found: Counterfactuals, values: Sequence[float]) -> str:
    if isnan(values[0]):
        return "no labels"
    return ", ".join(f"{name} {value:.3g}" for name, value in zip(found.names, values, strict=True))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
