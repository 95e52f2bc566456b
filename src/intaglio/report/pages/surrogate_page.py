"""The report of a surrogate: its rules, the fidelity of few features, and what would have to change."""

from collections.abc import Sequence
from pathlib import Path

from intaglio.explain.surrogate.result import CHANGES, RULES, SurrogateRules
from intaglio.report.kit.format import count, decimal, rate_text, title
from intaglio.report.kit.tables_view import TablesPage
from intaglio.report.kit.views import Key, PageTable, Row
from intaglio.runs.read import RunData

MOST_ALIKE = 3
"""Features of a cluster that are named beside a chosen one."""
LIMITS: Sequence[Row] = (
    Row(
        "What it says, and not why",
        "Rules tell which answers come with which features. The black box may look at something that comes with them.",
    ),
    Row(
        "Counterfactuals are of the rules",
        "A change crosses a rule’s bound. Whether the black box follows is told only where it could be asked, and "
        "whether such a row can exist is not asked.",
    ),
    Row("Of rows like these", "Fidelity is measured on rows that are like those that the rules were fitted to."),
)


def page_of(run: RunData, page_folder: Path) -> TablesPage | None:
    """The page of an `explain surrogate` run; None where nothing is finished yet."""
    found = SurrogateRules.load(run.folder)
    return None if found is None else surrogate_page(run, found)


def surrogate_page(run: RunData, found: SurrogateRules) -> TablesPage:
    """The page of a result."""
    one = found.fidelity
    kept = "-" if found.kept is None else decimal(found.kept, 2)
    return TablesPage(
        template="tables.html.j2",
        **title(run, f"{count(len(found.rules), 'rule')} on {count(len(found.features), 'feature')} of {found.wide:,}"),
        lead=found.statement,
        keys=[
            Key(
                "Fidelity of the rules",
                decimal(one.value, 2),
                f"R² 95% {decimal(one.low, 2)} to {decimal(one.high, 2)}",
            ),
            Key("Same class", rate_text(found.agreement), f"of {count(found.held_out, 'held-out row')}"),
            Key("Kept by the features", kept, "of a forest’s fidelity with all"),
            Key("Clusters", f"{found.clusters:,}", f"of features with |r| above {found.alike:g}"),
        ],
        warnings=run.warnings,
        tables=[
            (
                f"Support and precision are on held-out rows. All rules are in {RULES}.",
                PageTable("Rules", ["class", "support", "precision", "if"], _rules(found)),
            ),
            (
                f"Ranked by {found.reading}. Importance is the feature’s share in the tree; others named beside a "
                "feature go with it, and could stand in its place.",
                PageTable("Features", ["feature", "importance", "ranked by", "alike"], _features(found)),
            ),
            (
                "Of trees on the first features, in folds of the fitted rows; a forest on the chosen ones has "
                f"{decimal(found.forest, 2)} on held-out rows, and on all {decimal(found.ceiling, 2)}.",
                PageTable("Fidelity by number of features", ["features", "R²"], _curve(found)),
            ),
            (
                "The smallest change of each row that takes it into a rule of another class, in deviations of the "
                f"features. All are in {CHANGES}.",
                PageTable("What would have to change", ["row", "class", "change", "by", "black box"], _changes(found)),
            ),
        ],
        limits=LIMITS,
    )


def _rules(found: SurrogateRules) -> list[list[str]]:
    return [
        [row["class"], rate_text(row["support"]), _rate(row["precision"]), row["rule"]] for row in found.rule_rows()
    ]


def _rate(value: float | None) -> str:
    return "-" if value is None else rate_text(value)


def _features(found: SurrogateRules) -> list[list[str]]:
    lines = []
    for row, one in zip(found.rows(), found.features, strict=True):
        more = len(one.alike) - MOST_ALIKE
        alike = ", ".join(one.alike[:MOST_ALIKE]) + (f" and {more} more" if more > 0 else "")
        lines.append([one.name, decimal(one.importance, 2), row["scores"], alike or "-"])
    return lines


def _curve(found: SurrogateRules) -> list[list[str]]:
    return [[str(number), decimal(value, 2)] for number, value in found.curve]


def _changes(found: SurrogateRules) -> list[list[str]]:
    return [
        [
            one.row,
            f"{one.before} to {one.after}",
            "; ".join(f"{name} {old:.3g} to {new:.3g}" for name, (old, new) in one.moves.items()),
            decimal(one.distance, 2),
            "not asked" if one.says is None else f"says {one.says}",
        ]
        for one in found.counterfactuals
    ]
