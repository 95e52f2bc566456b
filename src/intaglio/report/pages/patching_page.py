"""The report of patched components: the largest effects, those of each branch, and how far estimates can be trusted."""

from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from intaglio.explain.components.result import PatchedComponents
from intaglio.report.kit.format import count, decimal, rate_text, title
from intaglio.report.kit.views import ConceptPage, Key, PageTable, Row
from intaglio.runs.read import RunData

MOST_SHOWN = 30
"""Components of the page's table."""
LIMITS: Sequence[Row] = (
    Row(
        "Effects do not add up",
        "What goes through several components in turn counts in each of them, and what two do together in neither.",
    ),
    Row(
        "At these latents, one step",
        "An effect is on the prediction at one noise level. What it comes to over a whole drawing is another question.",
    ),
    Row(
        "Of this pair of prompts",
        "A component that tells these two prompts apart may do nothing for another pair, and one without effect may "
        "carry what both share.",
    ),
)


def page_of(run: RunData, page_folder: Path) -> ConceptPage | None:
    """The page of an `explain components` run; None where nothing is finished yet."""
    found = PatchedComponents.load(run.folder)
    return None if found is None else patching_page(run, found)


def patching_page(run: RunData, found: PatchedComponents) -> ConceptPage:
    """The page of a result."""
    figures = found.figures()
    return ConceptPage(
        template="audit_concept.html.j2",
        **title(run, f"From “{found.corrupted}” to “{found.clean}”"),
        lead=found.statement,
        keys=[*_checks(found), *_costs(found)],
        warnings=run.warnings,
        table=PageTable("Components", ["component", "kind", "effect", "95%", "exact"], _rows(found)),
        table_heading="Components",
        table_text=f"An effect is {found.reading}: how far the prediction for “{found.corrupted}” goes to that for "
        f"“{found.clean}” when the component alone gives what it gives for the latter, 1 being all the way. Intervals "
        f"are over {count(figures['draws'], 'draw')} of noise and noise level. The largest of "
        f"{figures['components']:,} are shown; all are in {found.table}.",
        further=(
            "By branch, in the order of the network: the effects of its components added up, and their sizes.",
            PageTable("Branches", ["branch", "kind", "sum of effects", "sum of their sizes"], _branches(found)),
        ),
        pictures=[],
        pictures_text="",
        limits=LIMITS,
    )


def _checks(found: PatchedComponents) -> list[Key]:
    figures, agreement = found.figures(), found.agreement
    if agreement is None:
        return [Key("Agreement", "–", "effects are measured" if found.exact else "nothing was checked")]
    low, high = agreement.interval
    keys = [
        Key("Pearson with exact", decimal(agreement.pearson, 2), f"{low:.2f} to {high:.2f}, by resampling draws"),
        Key("By rank", decimal(agreement.spearman, 2), f"over {figures['checked']} components"),
    ]
    if figures["top_together"] is not None:
        others = figures["others_together"]
        beside = "" if others is None else f"; as many others {others:.2f}"
        keys.append(Key("Largest together", decimal(figures["top_together"], 2), f"of the way{beside}"))
    return keys


def _costs(found: PatchedComponents) -> list[Key]:
    figures = found.figures()
    return [
        Key("Prompts differ by", rate_text(figures["distance"]), "of a prediction’s length"),
        Key("Passes a draw", f"{figures['passes']:,}", f"{figures['exact_passes']:,} to measure all"),
    ]


def _rows(found: PatchedComponents) -> list[list[str]]:
    return [
        [
            _breaking(row["component"]),
            row["kind"],
            _number(row["effect"]),
            "–" if row["low"] is None else f"{_number(row['low'])} to {_number(row['high'])}",
            "–" if row["exact"] is None else _number(row["exact"]),
        ]
        for row in found.rows()[:MOST_SHOWN]
    ]


def _branches(found: PatchedComponents) -> list[list[str]]:
    return [
        [_breaking(one["branch"]), one["kind"], _number(one["sum"]), _number(one["size"])]
        for one in found.branch_rows()
    ]


def _number(value: float) -> str:
    return f"{value:.4f}".replace("-", "−")


def _breaking(site: str) -> Markup:
    """A module's name that may be broken into lines after each dot."""
    return Markup(".<wbr>").join(site.split("."))
