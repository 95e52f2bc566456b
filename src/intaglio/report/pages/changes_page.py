"""The part of a `discover` page about mechanisms that change with a context, in place of probabilities."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from markupsafe import Markup

from intaglio.causal.results import changes_text
from intaglio.causal.results.changes import Changes, DrivingForce
from intaglio.causal.results.changes_text import p_text
from intaglio.causal.results.discovery import Discovery
from intaglio.causal.results.records import EdgeRecord
from intaglio.causal.results.text import counted
from intaglio.report.kit.causal_views import ChangesPage, ChangesView, DiscoverPage
from intaglio.report.kit.charts import curve_plot
from intaglio.report.kit.format import decimal, rate_text
from intaglio.report.kit.views import Key, PageTable, Row
from intaglio.report.pages.discover_words import contradictions_row

SHOWN_TESTS = 200
"""Most pairs whose tests are listed; graph.json has all."""
SHOWN_COMPONENTS = 2
"""Most components of a change that are shown."""


def with_changes(page: DiscoverPage, found: Discovery, changes: Changes) -> ChangesPage:
    """The page of a graph that was found by tests and changes: with these, and without probabilities."""
    kept = {field.name: getattr(page, field.name) for field in fields(page)}
    own: dict[str, Any] = {
        "edges": [],
        "pairs": None,
        "near": PageTable("", [], []),
        "lead": f"{changes_text.changing_text(changes)} {page.lead}",
        "keys": [_changing(found, changes), *page.keys],
        "trust": _trust(found, changes),
        "limits": LIMITS,
    }
    return ChangesPage(**kept | own, changes=_view(found, changes))


def _view(found: Discovery, changes: Changes) -> ChangesView:
    return ChangesView(
        text=changes_text.changing_text(changes),
        edges=PageTable(
            "", ["edge", "largest p", "why it points so"], [tested_edge(edge, changes) for edge in found.edges]
        ),
        edges_text=changes_text.decision_text(changes),
        forces=[Row(_force_words(one), curve_of(one, changes)) for one in changes.forces if not _named(one)],
        domains=domain_table(changes.forces),
        choices=_choices(changes),
        tests=_tests(changes),
    )


def tested_edge(edge: EdgeRecord, changes: Changes) -> list[str]:
    """An edge that tests decided on: its words, the largest p-value of its tests, and why it points as it does."""
    words = f"{edge.source} {'→' if edge.mark == '-->' else '—'} {edge.target}"
    return [words, p_text(changes.p_of(edge.source, edge.target)), changes_text.reason_text(edge, changes)]


def _changing(found: Discovery, changes: Changes) -> Key:
    of = f"of {counted(len(found.names), 'column')}, with {changes.where}"
    return Key("Changing mechanisms", str(len(changes.changing)), of)


def _force_words(force: DrivingForce) -> str:
    shares = ", ".join(rate_text(share) for share in force.shares[:SHOWN_COMPONENTS])
    return f"{_module(force)}: {shares} of the change"


def _module(force: DrivingForce) -> str:
    return f"{force.variable} given {', '.join(force.causes)}" if force.causes else force.variable


def _named(force: DrivingForce) -> bool:
    return bool(force.at) and isinstance(force.at[0], str)


def curve_of(force: DrivingForce, changes: Changes) -> Markup:
    """The leading components over the time."""
    at = [float(point) for point in force.at]
    curves = {
        f"component {k}": list(zip(at, curve, strict=True))
        for k, curve in enumerate(force.components[:SHOWN_COMPONENTS], 1)
    }
    return curve_plot(curves, changes.context or "row", f"change of {force.variable}")


def domain_table(forces: Sequence[DrivingForce]) -> PageTable:
    """The leading component of each change by domain; without rows where there are no domains."""
    named = [force for force in forces if _named(force)]
    if not named:
        return PageTable("", [], [])
    heads = [f"{_module(force)} ({rate_text(force.shares[0])})" for force in named]
    rows = [
        [str(domain), *(decimal(force.components[0][k], 3) for force in named)] for k, domain in enumerate(named[0].at)
    ]
    return PageTable("", ["domain", *heads], sorted(rows))


def _choices(changes: Changes) -> PageTable:
    head = ["effect", "of", "dependence of changes", "next best", "resamples that agree", "regimes", "oriented"]
    rows = [
        [
            choice.sink,
            ", ".join(choice.tails),
            decimal(choice.score, 3),
            decimal(choice.runner_up, 3),
            rate_text(choice.share),
            str(choice.regimes),
            "yes" if choice.accepted else f"no: {choice.why}",
        ]
        for choice in changes.choices
    ]
    return PageTable("", head, rows)


def _tests(changes: Changes) -> PageTable:
    rows = []
    for pair in changes.pairs[:SHOWN_TESTS]:
        given = "" if pair.given is None else "given " + (", ".join(pair.given) or "nothing")
        second = pair.second or "row"
        rows.append([f"{pair.first}, {second}", "yes" if pair.adjacent else "no", p_text(pair.p), given])
    return PageTable("", ["pair", "edge", "largest p", "independent"], rows)


def _trust(found: Discovery, changes: Changes) -> list[Row]:
    finished = "no: the time limit ended it" if changes.unfinished else "yes"
    return [
        Row("What decides", changes_text.decision_text(changes)),
        contradictions_row(found),
        Row("Searched to the end", finished),
    ]


LIMITS: Sequence[Row] = (
    Row(
        "No hidden common causes but those that the context names",
        "A hidden cause of two columns is harmless where it is the same for all rows of one domain or time; any other "
        "makes an edge that is no cause.",
    ),
    Row("Nothing causes the context", "A site that was chosen for its values is an effect, and turns arrows round."),
    Row(
        "Changes of different mechanisms are independent",
        "Only directions by independent changes need this; where one driver moves all, they stay open or mislead.",
    ),
    Row(
        "No cycles, and no effects with a lag",
        "Rows are taken as independent once the context is known; a series that depends on its own past shows edges "
        "and changes that are not there.",
    ),
    Row(
        "Faithfulness",
        "Effects that cancel each other exactly, and changes that undo each other, hide edges and causes.",
    ),
    Row(
        "A line is not doubt about the edge",
        "It says that neither tests nor changes tell the direction. More domains may; so does knowledge or an "
        "experiment (--require, --forbid, --tiers).",
    ),
)
