"""The report of a sharpened encoder: what changed, and the pictures whose copies are found more and less often."""

from collections.abc import Sequence
from pathlib import Path

from intaglio.explain.sharpening.result import SharpenedEncoder
from intaglio.report.kit.format import count, decimal, rate_text, title
from intaglio.report.kit.tables_view import TablesPage
from intaglio.report.kit.views import Key, PageTable, Row
from intaglio.runs.read import RunData

SHOWN = 20
"""Pictures of a table, at most."""
LIMITS: Sequence[Row] = (
    Row(
        "Another encoder",
        "Scores and thresholds of the old encoder do not hold for the new one; descriptors of the two are not to be "
        "compared.",
    ),
    Row(
        "Of these pictures",
        "Held-out pictures are of the same folder. On other pictures, and for other changes of copies, the gain may be "
        "another, or a loss.",
    ),
    Row(
        "An easier drawing is no aim",
        "The generator's error says what a descriptor lets one draw; what is drawn need not tell pictures apart.",
    ),
)


def page_of(run: RunData, page_folder: Path) -> TablesPage | None:
    """The page of an `explain sharpening` run; None where nothing is finished yet."""
    found = SharpenedEncoder.load(run.folder)
    if found is None:
        return None
    figures = found.figures()
    keys = [
        Key(
            words,
            f"{rate_text(figures[f'{name}_before'])} to {rate_text(figures[f'{name}_after'])}",
            "gain 95% {:+.3f} to {:+.3f}".format(*figures[f"{name}_gain_interval"]),
        )
        for words, name in (("Nearest is the original", "nearest"), ("Found at 1% of twins", "found"))
    ]
    return TablesPage(
        template="tables.html.j2",
        **title(run, f"{found.heading}: {count(len(found.names), 'held-out picture')}"),
        lead=found.statement,
        keys=[
            *keys,
            Key("Cosine of old and new", decimal(figures["cosine_kept"], 3), "mean over held-out pictures"),
            Key(
                "Error of drawing",
                f"{decimal(figures['loss_before'], 3)} to {decimal(figures['loss_after'], 3)}",
                f"{decimal(figures['loss_mistaken'], 3)} from another picture's descriptor",
            ),
        ],
        warnings=run.warnings,
        tables=[
            (
                "Pictures whose changed copies are found more and less often than before, at most "
                f"{SHOWN}: the share of copies whose nearest picture is their original, and the mean cosine of copies "
                "and original.",
                PageTable(
                    "Changed",
                    ["picture", "nearest before", "after", "cosine before", "after", "old and new"],
                    _changed(found),
                ),
            )
        ],
        limits=LIMITS,
    )


def _changed(found: SharpenedEncoder) -> list[list[str]]:
    """Rows of the pictures with the largest changes, gains first."""
    rows = [row for row in found.rows() if row["nearest_after"] != row["nearest_before"]]
    rows.sort(key=lambda row: -abs(row["nearest_after"] - row["nearest_before"]))
    shown = sorted(rows[:SHOWN], key=lambda row: row["nearest_before"] - row["nearest_after"])
    numbers = ("copy_before", "copy_after", "cosine_kept")
    if not shown:
        return [["none", *["-"] * 5]]
    return [
        [
            row["picture"],
            rate_text(row["nearest_before"]),
            rate_text(row["nearest_after"]),
            *(decimal(row[name], 3) for name in numbers),
        ]
        for row in shown
    ]
