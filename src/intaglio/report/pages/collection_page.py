"""The report of a map of a collection: a treemap that is opened box by box, and its boxes as a list."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from intaglio.explain.collection.label_agreement import LabelColumn
from intaglio.explain.collection.result import CollectionMap
from intaglio.explain.collection.tile_layout import TreemapView, treemap_views
from intaglio.explain.collection.tile_sheet import SHEET, sheet_columns
from intaglio.printable import one_line
from intaglio.report.kit.format import count, decimal, rate_text, title
from intaglio.report.kit.thumbnails import Album
from intaglio.report.kit.views import BoxView, CollectionPage, Key, PageTable, Row, Shown
from intaglio.runs.read import RunData

BUDGET = 1_600_000
"""Bytes of base64 of the sheet of thumbnails."""
MOST_ROWS = 60
"""Labels of the table."""
LIMITS: Sequence[Row] = (
    Row(
        "Near by these features",
        "Pictures lie in one box because their features are near. Another encoder finds other boxes; what two pictures "
        "have in common for a person may be nothing to it.",
    ),
    Row(
        "Boxes are not classes",
        "Every collection falls into as many boxes as are asked for, also one without any groups. Labels say whether "
        "boxes are of something; without labels, the eye decides, and it finds reasons easily.",
    ),
    Row(
        "Purity grows with boxes",
        "Small boxes are pure by chance. Set purity beside that of random boxes of the same sizes, which is given.",
    ),
)


def page_of(run: RunData, page_folder: Path) -> CollectionPage | None:
    """The page of an `explain collection` run; None where nothing is finished yet."""
    found = CollectionMap.load(run.folder)
    return None if found is None else collection_page(run, found, page_folder)


def collection_page(run: RunData, found: CollectionMap, page_folder: Path) -> CollectionPage:
    """The page of a result; `page_folder` is where it will lie."""
    album = Album(page_folder, len(found.boxes), 400_000, run.folder)
    sheet = Album(page_folder, 1, BUDGET, run.folder).whole(run.folder / SHEET)
    views = treemap_views(found.tree, found.tiles, found.count)
    keys = [Key("Pictures", f"{len(found.names):,}", f"in {count(len(found.boxes), 'box', 'boxes')}")]
    for one in found.agreements[:4]:
        more = f"random boxes {one.chance:.2f}; adjusted information {one.information:.2f}, p {decimal(one.p, 2)}"
        keys.append(Key(f"Purity for {one_line(one.column)}", f"{one.purity:.2f}", more))
    clusters = len(found.tiles) < len(found.names)
    tile = "the middle picture of one of its clusters" if clusters else "one picture"
    return CollectionPage(
        template="explain_collection.html.j2",
        **title(run, f"A map of {len(found.names):,} pictures"),
        lead=found.statement,
        keys=keys,
        warnings=run.warnings,
        sheet=None if sheet is None else Markup(sheet[0]),  # base64, made here
        data=_data(found, views, sheet),
        map_text=f"A box is {found.reading}. Its area goes with its number of pictures, and each thumbnail is {tile}; "
        "where a box has too little room, some of them are left out. Choose a box (click, or Enter) to open it; Escape "
        "goes up.",
        boxes=[
            BoxView(
                Shown(album.thumb(run.folder / "images" / f"box-{number:02d}.png"), ""),
                _name(found, node),
                _more(found, node),
                [BoxView(None, _name(found, one, node), _more(found, one)) for one in _inside(found, views, node)],
            )
            for number, node in enumerate(found.boxes)
        ],
        boxes_text="The same boxes as a list, each with the picture nearest to its mean, and with those that it opens "
        "into. A box is named by the words that are commoner in its captions than in those of the box that it lies in.",
        classes=_classes(found),
        classes_text="For each label, the box with most of its pictures.",
        limits=LIMITS,
    )


def _inside(found: CollectionMap, views: Sequence[TreemapView], node: int) -> Sequence[int]:
    """The boxes that a node opens into; none for one that is not opened."""
    return next((view.boxes for view in views if view.node == node), ()) if node != found.tree.root else ()


def _name(found: CollectionMap, node: int, above: int | None = None) -> str:
    """Words that are commoner in a box than in the one above it, else its first label, else a picture's name."""
    members = found.tree.members(node)
    if len(members) == 1:
        return one_line(found.names[int(members[0])])
    if words := found.words.of(members, None if above is None else found.tree.members(above)):
        return ", ".join(words)
    told = [column.commonest(members)[0] for column in found.labels]
    return one_line(next((one for one in told if one), f"such as {found.names[int(members[0])]}"))


def _more(found: CollectionMap, node: int) -> str:
    """A box's number of pictures, its commonest labels and wrong answers."""
    members = found.tree.members(node)
    parts = [count(len(members), "picture")]
    for column in found.labels:
        label, purity = column.commonest(members)
        wrong = column.wrong(members)
        if purity is not None:
            parts.append(f"{column.name} {label} {rate_text(purity)}")
        if wrong is not None:
            parts.append(f"{rate_text(wrong)} of answers wrong")
    return one_line("; ".join(parts))


def _data(found: CollectionMap, views: Sequence[TreemapView], sheet: Any) -> Markup:
    """JSON of all that the script draws, which no text can break out of: views as nested arrays of integers."""
    starts = np.array([found.tree.starts[one] for one in found.tiles])
    labels, drawn = list[list[str]](), list[list[Any]]()
    for view in views:
        boxes = []
        for place, (node, opens) in enumerate(zip(view.boxes, view.opens, strict=True)):
            start = int(found.tree.starts[node])
            first, last = np.searchsorted(starts, [start, start + int(found.tree.counts[node])]).tolist()
            rectangles = [number for plane in view.planes for number in plane.rectangles[place]]
            boxes.append([opens, first, last - first, len(labels), *rectangles])
            labels.append([_name(found, node, view.node), _more(found, node)])
        drawn.append([view.above, *(n for plane in view.planes for n in (plane.columns, plane.rows)), boxes])
    columns = sheet_columns(len(found.tiles))
    side = 0 if sheet is None else sheet[1][0] // columns
    names = [_name(found, node) for node in found.tiles]
    told = {"columns": columns, "side": side, "names": names, "labels": labels, "views": drawn}
    text = json.dumps(told, separators=(",", ":"))
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def _classes(found: CollectionMap) -> PageTable | None:
    if not found.labels:
        return None
    groups = found.tree.groups(found.boxes)
    rows = [row for column in found.labels for row in _class_rows(found, column, groups)]
    heads = ["label", "class", "pictures", "most of them in box", "share there"]
    if any(column.predicted is not None for column in found.labels):
        heads.append("answers wrong")
    left = len(rows) - MOST_ROWS
    kept = [row[: len(heads)] for row in rows[:MOST_ROWS]]
    return PageTable("Labels", heads, kept, f"{left:,} further classes are left out." if left > 0 else "")


def _class_rows(found: CollectionMap, column: LabelColumn, groups: Any) -> list[list[str]]:
    """A row a class, the commonest first."""
    rows = list[tuple[int, list[str]]]()
    for code, name in enumerate(column.classes):
        members = np.flatnonzero(column.codes == code)
        if not len(members):
            continue
        inside = np.bincount(groups[members], minlength=len(found.boxes))
        box = int(inside.argmax())
        wrong = column.wrong(members)
        row = [
            column.name, name, f"{len(members):,}", f"{box}: {_name(found, found.boxes[box])}",
            rate_text(float(inside.max() / len(members))), "-" if wrong is None else rate_text(wrong),
        ]  # fmt: skip
        rows.append((-len(members), row))
    return [row for _, row in sorted(rows, key=lambda one: one[0])]
