"""The report of a repair: how a classifier names pictures of each class and shortcut, before and after."""

from collections.abc import Sequence
from pathlib import Path

from intaglio.explain.repairs.result import RepairedClassifier
from intaglio.report.kit.format import count, rate_text, title
from intaglio.report.kit.views import ConceptPage, Key, PageTable, Row
from intaglio.runs.read import RunData

MOST_SHOWN = 60
"""Edges of the page's table."""
LIMITS: Sequence[Row] = (
    Row(
        "The shortcut that was told",
        "What is repaired is the one column that was given. Another shortcut, or one that only goes with it, may be "
        "left as it was.",
    ),
    Row(
        "Right for the wrong reason",
        "Where shortcut and class agree, the classifier was often right by the shortcut alone. These cells fall as the "
        "others rise; what the classifier cannot tell without the shortcut, no cut teaches it.",
    ),
    Row(
        "Judged on pictures like these",
        "The accuracies are of the half that did not choose the change, which comes from the same folder. On pictures "
        "from elsewhere both may be lower.",
    ),
)


def page_of(run: RunData, page_folder: Path) -> ConceptPage | None:
    """The page of an `explain repair` run; None where nothing is finished yet."""
    found = RepairedClassifier.load(run.folder)
    return None if found is None else repair_page(run, found)


def repair_page(run: RunData, found: RepairedClassifier) -> ConceptPage:
    """The page of a result."""
    cells = PageTable(
        "Cells",
        [found.head, found.column, "pictures", "before", "after"],
        [
            [row["label"], row["shortcut"], f"{row['pictures']:,}", rate_text(row["before"]), rate_text(row["after"])]
            for row in found.rows()
        ],
    )
    return ConceptPage(
        template="audit_concept.html.j2",
        **title(run, f"{found.column} taken out of {found.head}"),
        lead=found.statement,
        keys=_keys(found),
        warnings=run.warnings,
        table=cells,
        table_heading="Named right",
        table_text=f"The share of each cell’s judging pictures that is named right, before and after the change: "
        f"{found.reading}. {count(found.chosen_by, 'other picture')} chose it.",
        further=_edges(found),
        pictures=[],
        pictures_text="",
        limits=LIMITS,
    )


def _keys(found: RepairedClassifier) -> list[Key]:
    (before, after), (mean_before, mean_after) = found.worst, found.mean
    low, high = found.gain_interval
    return [
        Key("Worst cell", rate_text(after), f"before {rate_text(before)}; rise 95% {low:+.2f} to {high:+.2f}"),
        Key("Mean of cells", rate_text(mean_after), f"before {rate_text(mean_before)}"),
        Key("Shortcut’s effect", f"{abs(found.gap.after):.2f}", f"before {abs(found.gap.before):.2f}, on the score"),
        Key("Edges cut", f"{len(found.cut):,}", f"{found.share:.1%} of all; bias moved by {found.offset:+.2f}"),
    ]


def _edges(found: RepairedClassifier) -> tuple[str, PageTable] | None:
    if not found.cut:
        return None
    text = (
        "An effect is the part of the shortcut’s effect on the score that goes through the edge: as measured where the "
        "method cuts edges one by one, and else as gradients estimate it. A filter is named by its convolution and its "
        f"number. {count(len(found.cut), 'edge')} were cut, of which at most {MOST_SHOWN} are here."
    )
    rows = [[source, target, f"{effect:.3f}"] for source, target, effect in found.cut[:MOST_SHOWN]]
    return text, PageTable("Edges that were cut", ["source", "target", "effect"], rows)
