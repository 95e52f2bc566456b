"""The report of an audit of an engine that answers counting queries: guesses beside the truth, and what they cost."""

from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from intaglio.audit.queries.result import GuessedRecord, QueryGuesses
from intaglio.report.kit.charts import Dot, Strip, strip_plot
from intaglio.report.kit.format import count, decimal, interval_text, rate_text, title
from intaglio.report.kit.views import Key, PageTable, QueriesPage, Row
from intaglio.runs.read import RunData

MOST_ROWS = 300
"""Records of the table."""


def page_of(run: RunData, page_folder: Path) -> QueriesPage | None:
    """The page of an `audit queries` run; None where nothing is finished yet."""
    found = QueryGuesses.load(run.folder)
    return None if found is None else queries_page(run, found)


def queries_page(run: RunData, found: QueryGuesses) -> QueriesPage:
    """The page of a result."""
    return QueriesPage(
        template="audit_queries.html.j2",
        **title(run, f"{found.right} of {count(len(found.guesses), 'secret')} guessed rightly"),
        lead=found.statement,
        keys=_keys(found),
        warnings=run.warnings,
        strip_wide=_strips(found, 1040, "plot big"),
        strip_narrow=_strips(found, 380, "plot small"),
        strip_text=(
            f"Log odds that {found.secret.column} is {found.secret.value}, by the method’s model of the noise, at even "
            "odds beforehand: above 0 it is said to be so, and squares are those. At 0 no answer told anything."
        ),
        counts=_counts(found),
        table=_table(found),
        table_text=_table_text(found),
        limits=LIMITS,
    )


def _keys(found: QueryGuesses) -> list[Key]:
    figures = found.figures()
    keys = [Key("Right", rate_text(found.accuracy), f"{interval_text(found.interval)}; a coin has 50%")]
    if found.expected is not None:
        keys.append(Key("In theory", rate_text(found.expected), "where every query is answered"))
    if found.bound is not None:
        keys.append(Key("Bound of the budget", rate_text(found.bound), "no attack is right more often"))
    keys.append(Key("Queries a record", decimal(found.queries, 3), _unanswered(figures)))
    if found.others_tested:
        share = rate_text(found.others_mistaken / found.others_tested)
        keys.append(Key("Wrongly taken for unique", share, f"of {count(found.others_tested, 'other record')}"))
    return keys


def _unanswered(figures: dict) -> str:
    shares = {"suppressed": figures["suppressed_share"], "refused": figures["refused_share"]}
    return ", ".join(f"{rate_text(share)} {word}" for word, share in shares.items() if share) or "all answered"


def _said(found: QueryGuesses, so: bool) -> str:
    return f"{found.secret.column} {'is' if so else 'is not'} {found.secret.value}"


def _strips(found: QueryGuesses, width: int, classes: str) -> Markup | str:
    """The log odds of both kinds of records, on one scale."""
    strips = [
        Strip(
            _said(found, truth),
            [
                Dot(one.log_odds, f"row {one.row}", "in" if one.value else "out")
                for one in found.guesses
                if one.truth == truth
            ],
        )
        for truth in (True, False)
    ]
    return strip_plot(strips, (), "log odds", width, classes, things="records")


def _counts(found: QueryGuesses) -> PageTable:
    heads = ["records whose", *(f"said: {_said(found, so)}" for so in (True, False))]
    rows = [
        [_said(found, truth), *(str(_number(found.guesses, truth, said)) for said in (True, False))]
        for truth in (True, False)
    ]
    return PageTable("", heads, rows)


def _number(guesses: Sequence[GuessedRecord], truth: bool, said: bool) -> int:
    return sum(one.truth == truth and one.value == said for one in guesses)


def _table(found: QueryGuesses) -> PageTable:
    rows = [
        [
            str(one.row),
            _said(found, one.truth),
            "right" if one.right else "wrong",
            decimal(one.log_odds, 3) if one.informed else "a coin",
            str(one.queries),
            str(one.suppressed + one.refused),
        ]
        for one in found.guesses[:MOST_ROWS]
    ]
    return PageTable("", ["row", "truth", "guess", "log odds", "queries", "not answered"], rows)


def _table_text(found: QueryGuesses) -> str:
    said = (
        f"Each is the only record with its values in {', '.join(found.known)}, which the attacker knows; rows count "
        "from 0. As many have the value as not."
    )
    if found.passed_over:
        said += f" {count(found.passed_over, 'such record')} that the engine counted as several were passed over."
    if (left := len(found.guesses) - MOST_ROWS) > 0:
        said += f" {left} more are in guesses.csv."
    return said


LIMITS: Sequence[Row] = (
    Row(
        "The engine is rebuilt",
        "Noise and suppression are those that were published; a product may differ, and may refuse queries that are "
        "answered here.",
    ),
    Row(
        "Records that stand alone",
        "Attacked are records that no other resembles in all that is known of them. The rate says nothing of others.",
    ),
    Row(
        "A coin has one half",
        "As many records have the value as not. Where the value is rare, a guess by its frequency alone is right more "
        "often, and tells nothing of the answers.",
    ),
    Row(
        "Another attack may do better",
        "A rate near one half shows that this attack fails; only a budget bounds all attacks.",
    ),
)
