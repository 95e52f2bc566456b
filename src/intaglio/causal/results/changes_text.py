"""Sentences and aligned columns about mechanisms that change with a context, for a terminal and for a report."""

from collections.abc import Sequence

from intaglio.causal.results.changes import RULE_WORDS, Changes, SinkChoice
from intaglio.causal.results.records import EdgeRecord
from intaglio.causal.results.text import MARK_NOTE, counted
from intaglio.printable import one_line


def p_text(p: float | None) -> str:
    """A p-value, short: 0.012, < 0.001; empty for none."""
    return "" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def reason_text(edge: EdgeRecord, changes: Changes) -> str:
    """The reason of an edge's direction, or of its openness."""
    rule = changes.rule_of(edge.source, edge.target)
    if rule is not None:
        return RULE_WORDS[rule]
    choice = choice_of(edge, changes)
    return "no test or rule tells the direction" if choice is None else choice.why


def choice_of(edge: EdgeRecord, changes: Changes) -> SinkChoice | None:
    """The choice by independent changes that was not made for an undirected edge, the last one; None without any."""
    for choice in reversed(changes.choices):
        if not choice.accepted and choice.why and {edge.source, edge.target} <= {choice.sink, *choice.tails}:
            return choice
    return None


def edge_lines(edges: Sequence[EdgeRecord], changes: Changes) -> list[str]:
    """A head and one line per edge: the edge, its largest p-value, the reason of its mark; no lines without edges."""
    if not edges:
        return []
    rows = [["edge", "largest p", "reason"]]
    for edge in edges:
        rows.append([one_line(str(edge)), p_text(changes.p_of(edge.source, edge.target)), reason_text(edge, changes)])
    widths = [max(len(row[k]) for row in rows) for k in range(3)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return [line.rstrip() for line in lines]


def notes(edges: Sequence[EdgeRecord], changes: Changes) -> list[str]:
    """Sentences for a terminal: which mechanisms change, what the marks and p-values say."""
    open_marks = [MARK_NOTE] if any(edge.mark == "---" for edge in edges) else []
    return [one_line(changing_text(changes)), *open_marks, decision_text(changes)]


def changing_text(changes: Changes) -> str:
    """The variables whose mechanism changes with the context."""
    what = "time" if changes.kind == "time" else "domains"
    where = f"with {changes.where} ({what})"
    if not changes.changing:
        return f"No mechanism was found to change {where}."
    one = len(changes.changing) == 1
    names = ", ".join(changes.changing)
    return f"{'The mechanism' if one else 'Mechanisms'} of {names} {'changes' if one else 'change'} {where}."


def decision_text(changes: Changes) -> str:
    """The nature of the numbers."""
    tests = counted(changes.tests, "test")
    return (
        f"An edge stands where no test at level {changes.alpha:g} made the pair independent ({tests}, "
        f"{changes.test}); its largest p-value is no probability of the edge."
    )
