"""The report of a transfer: how often the target's rows are predicted right by stage, and how far to trust that."""

from collections.abc import Sequence
from pathlib import Path

from intaglio.causal.transfer.result import LABELLED, REFITTED, TransferPredictions
from intaglio.report.kit.format import count, title
from intaglio.report.kit.views import ConceptPage, Key, PageTable, Row
from intaglio.runs.read import RunData

LIMITS: Sequence[Row] = (
    Row(
        "Of environments like these",
        "What is the same in all known environments is taken to be so in the target. Nothing in the rows can show that "
        "where the target's outcomes are not known.",
    ),
    Row(
        "Latent causes are known up to an affine map",
        "Numbers of a cause have no scale, order or name of their own. Where two trainings do not agree on them, they "
        "say nothing at all.",
    ),
    Row(
        "Rows count as independent",
        "Intervals resample rows. Where rows belong together, such as pictures of one subject, they are too narrow.",
    ),
)


def page_of(run: RunData, page_folder: Path) -> ConceptPage | None:
    """The page of a `causal transfer` run; None where nothing is finished yet."""
    found = TransferPredictions.load(run.folder)
    if found is None:
        return None
    rows = [[found.target, stage, count(int(found.judged.sum()), "row"), f"{found.accuracy[stage]:.1%}",
             f"{found.common_accuracy:.1%}"] for stage in found.accuracy]  # fmt: skip
    rows += [
        [one.environment, "from the others", count(one.rows, "row"), f"{one.accuracy:.1%}", f"{one.common:.1%}"]
        for one in found.left_out
    ]
    rows = rows or [["none", "no outcome is left to judge by, and no environment was held out", "-", "-", "-"]]
    labelled = count(int(found.labelled.sum()), "outcome")
    learnt = f" {LABELLED.capitalize()}, it has learnt {labelled} of the target." if found.labelled.any() else ""
    changed = f" {REFITTED.capitalize()}, the target's rows change {found.refits}." if found.refits else ""
    return ConceptPage(
        template="audit_concept.html.j2",
        **title(run, f"Outcomes in {found.target}"),
        lead=found.statement,
        keys=[
            Key(
                stage.capitalize(),
                f"{one:.1%}",
                f"of judged rows are right, 95% {found.intervals[stage][0]:.1%} to {found.intervals[stage][1]:.1%}; "
                f"mean over classes {found.balanced[stage]:.1%}",
            )
            for stage, one in found.accuracy.items()
        ]
        + [
            Key(f"Agreement on {name}", f"{one:.2f}", "of two trainings; 1 is full")
            for name, one in found.agreement.items()
        ],
        warnings=run.warnings,
        table=PageTable("Accuracy", ["held out", "stage", "rows", "right", "most common class"], rows),
        table_heading="Each environment held out",
        table_text=f"A prediction is {found.reading}.{changed}{learnt} The most common class is that of the "
        "environments that were learnt from.",
        pictures=[],
        pictures_text="",
        limits=LIMITS,
    )
