"""The report of a certification: the class and the radius of each picture."""

from pathlib import Path

from intaglio.protect.certify.result import CertifiedPictures, rounded_down
from intaglio.report.kit.format import count, rate_text, title
from intaglio.report.kit.views import Key, PageTable, PictureTablePage, Row
from intaglio.runs.read import RunData

MOST_ROWS = 300
"""Rows of the table."""
LIMITS = (
    Row(
        "Proven is not right",
        "A radius says that the class stays, not that it is the true one; only labelled pictures tell how often it is.",
    ),
    Row(
        "Short changes alone",
        "Nothing is said of changes longer than the radius, such as a crop, a turn or another background, however "
        "small they look.",
    ),
    Row(
        "The class is that of the votes",
        "The classifier asked once, without noise, may call another; the proof is of the votes.",
    ),
)


def page_of(run: RunData, page_folder: Path) -> PictureTablePage | None:
    """The page of a `protect certify` run; None where nothing is finished yet."""
    found = CertifiedPictures.load(run.folder)
    return None if found is None else certify_page(run, found)


def certify_page(run: RunData, found: CertifiedPictures) -> PictureTablePage:
    """The page of a result."""
    figures, every = found.figures(), found.rows()
    rows = [
        [
            row["picture"],
            row["class"] or "no verdict",
            "" if row["radius"] is None else rounded_down(row["radius"], 3),
            f"{rate_text(row['share'])} {row['most_voted']}",
        ]
        for row in every[:MOST_ROWS]
    ]
    left = len(every) - len(rows)
    median = figures["median_radius"]
    return PictureTablePage(
        template="picture_table.html.j2",
        **title(run, f"{figures['certified']} of {count(len(every), 'picture')} certified"),
        lead=found.statement,
        keys=[
            Key(
                "Certified",
                f"{figures['certified']} of {len(every)}",
                f"each wrong with a chance of {found.alpha:g} at most",
            ),
            Key("Median radius", "-" if median is None else rounded_down(median, 2), f"noise of {found.sigma:g}"),
        ],
        warnings=run.warnings,
        table=PageTable("Certificates", ["picture", "class", "radius", "votes"], rows),
        table_text="No change of a picture shorter than its radius can change the class that is most probable under "
        f"the noise; {found.votes:,} noisy copies voted. Lengths are Euclidean, over all numbers in [0, 1]."
        + (f" {left} more are in certified.csv." if left > 0 else ""),
        pictures=(),
        limits=LIMITS,
    )
