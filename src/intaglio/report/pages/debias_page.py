"""The report of corrected effects: a line a trial, and how much of true effects the correction finds."""

from collections.abc import Sequence
from pathlib import Path

from intaglio.causal.debias.result import DebiasedEffects
from intaglio.report.kit.format import count, decimal, rate_text, title
from intaglio.report.kit.views import ConceptPage, Key, PageTable, Row
from intaglio.runs.read import RunData

MOST_ROWS = 200
"""Trials on the page."""
LIMITS: Sequence[Row] = (
    Row(
        "Only the shrinkage",
        "A correction undoes that predictions are too near to their mean. It makes no effect causal that is not: units "
        "must be comparable by design, or by their weights.",
    ),
    Row(
        "As the calibration rows are",
        "It is learnt where outcomes are known. Where the model predicts worse, or otherwise, in the trials, it is the "
        "wrong one; predictions of treated units must err as those of others do.",
    ),
    Row(
        "Pseudo-trials are of calibration rows",
        "The share of true effects that is found there is a check of the correction, not of the trials.",
    ),
)


def page_of(run: RunData, page_folder: Path) -> ConceptPage | None:
    """The page of a `causal debias` run; None where nothing is finished yet."""
    found = DebiasedEffects.load(run.folder)
    if found is None:
        return None
    share, low, high = found.recovered
    rows = [
        [
            row["trial"],
            decimal(row["predicted"], 3),
            decimal(row["effect"], 3),
            f"{decimal(row['low'], 3)} to {decimal(row['high'], 3)}",
            f"{row['treated']:,}, {row['untreated']:,}",
        ]
        for row in found.rows()[:MOST_ROWS]
    ]
    left = len(found.effects) - len(rows)
    return ConceptPage(
        template="audit_concept.html.j2",
        **title(run, f"{count(len(found.effects), 'effect')} from predicted outcomes"),
        lead=found.statement,
        keys=[
            Key(
                "In pseudo-trials",
                decimal(share, 2),
                f"times the true effects, 95% {low:.2f} to {high:.2f}; 1 is unbiased",
            ),
            Key("Calibration rows", f"{found.calibration:,}", "with known outcomes"),
            Key("Outside", rate_text(found.outside), "of the trials’ predictions, beyond the calibrated ones"),
        ],
        warnings=run.warnings,
        table=PageTable("Effects", ["trial", "as predicted", "corrected", "95%", "treated, others"], rows),
        table_heading="Effects",
        table_text=f"A prediction is {found.reading}. An effect is the mean of treated units less that of the others; "
        "its interval is of the bootstrap over calibration rows and units."
        + (f" {left} more trials are in effects.csv." if left > 0 else ""),
        pictures=[],
        pictures_text="",
        limits=LIMITS,
    )
