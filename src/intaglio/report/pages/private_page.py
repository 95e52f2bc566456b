"""The report of a private training: the promise, what it leaves out, and how often the classifier is right."""

from pathlib import Path

from intaglio.metrics.statistics.conformal import clopper_pearson
from intaglio.protect.private.result import OUTSIDE, PrivateRecord
from intaglio.report.kit.format import count, decimal, rate_text, title
from intaglio.report.kit.views import Key, PageTable, PictureTablePage, Row
from intaglio.runs.read import RunData


def page_of(run: RunData, page_folder: Path) -> PictureTablePage | None:
    """The page of a `protect private` run; None where nothing is finished yet."""
    found = PrivateRecord.load(run.folder)
    return None if found is None else private_page(run, found)


def private_page(run: RunData, found: PrivateRecord) -> PictureTablePage:
    """The page of a record."""
    report = found.report
    keys = [Key("Privacy", "holds" if found.holds else "none", "" if found.holds else "see below")]
    if report is not None:
        keys.append(Key("Epsilon", decimal(report.epsilon, 2), f"delta {report.delta:.2g}"))
        keys.append(Key("Noise", decimal(report.sigma, 2), "times the bound of a picture’s gradient"))
    outside = [Row("Outside the guarantee", f"{'; '.join(OUTSIDE)}.")] if report is not None else []
    return PictureTablePage(
        template="picture_table.html.j2",
        **title(run, f"A classifier of {count(len(found.classes), 'class', 'classes')}"),
        lead=found.statement,
        keys=keys,
        warnings=run.warnings,
        table=PageTable("Further pictures", ["class", "pictures", "right", "share", "95%"], _rows(found)),
        table_text=(
            f"The classifier {found.reading}. Pictures that it did not learn from tell how often it is right; the "
            "promise is not about them."
        ),
        pictures=(),
        limits=(
            *outside,
            Row(
                "A bound, not an attack",
                "What attacks reach is less. intaglio protect budget tells the most that any can.",
            ),
        ),
    )


def _rows(found: PrivateRecord) -> list[list[str]]:
    rows = []
    for one in found.judged:
        spread = clopper_pearson(one.right, one.pictures)
        if spread is not None:
            low, high = map(rate_text, spread)
            share = rate_text(one.right / one.pictures)
            rows.append([one.name, str(one.pictures), str(one.right), share, f"{low} to {high}"])
    return rows
