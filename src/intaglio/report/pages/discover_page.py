"""The report page of a `discover` run: warnings, drawing, edges with probabilities, columns, assumptions."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from intaglio.causal.formats.svg import probability_text
from intaglio.causal.results import text
from intaglio.causal.results.discovery import Discovery
from intaglio.causal.results.records import EdgeRecord, FoundPagEdge, FoundPair, FoundTriple
from intaglio.causal.results.result_files import GRAPH_FILE
from intaglio.causal.results.text import WORSE_THAN_EMPTY, counted
from intaglio.data_files import Fields, is_number
from intaglio.report.kit.causal_views import DiscoverPage, EdgeView
from intaglio.report.kit.format import decimal, plain, rate_text, title
from intaglio.report.kit.thumbnails import relative_link
from intaglio.report.kit.views import Key, PageTable, Row
from intaglio.report.pages.causal_figures import legend_squares, mark_bars, pair_plot, range_bar
from intaglio.report.pages.changes_page import with_changes
from intaglio.report.pages.discover_words import LINES, contradictions_row, words_of
from intaglio.runs.read import RunData, read_table

RESULT = "result"
COLUMNS_FILE = "columns.json"
LARGE_GRAPH_COLUMNS = 45
"""Number of columns above which the drawing is not scaled to the page."""
SHOWN_EDGES, SHOWN_PAIRS, SHOWN_TRIPLES = 200, 15, 60
"""Most edges, pairs without an edge, and triples that are listed; the files hold all."""
KIND_NAMES = {
    "continuous": "numbers",
    "ordinal": "levels in an order",
    "binary": "two levels",
    "nominal": "levels without order",
}
FILE_NOTES = {
    "graph.json": "everything, exactly",
    "edges.csv": "a row an edge, and one a column without edges",
    "colliders.csv": "a row a triple",
    "graph.gml": "for networkx, Gephi, yEd",
    "graph.dot": "for graphviz",
    "graph.dagitty.txt": "for dagitty.net",
    "graph.svg": "the picture",
}


def page_of(run: RunData, page_folder: Path) -> DiscoverPage | None:
    """The page of a `discover` run; None where no graph was found yet."""
    found = read_discovery(run)
    return None if found is None else discover_page(run, found, page_folder)


def read_discovery(run: RunData) -> Discovery | None:
    """The result of a run; None where it is not finished. Raises `BadInput` where the file is damaged."""
    return Discovery.load(run.folder / RESULT) if (run.folder / RESULT / GRAPH_FILE).is_file() else None


def discover_page(run: RunData, found: Discovery, page_folder: Path) -> DiscoverPage:
    """The page of a `discover` run; links are relative to `page_folder`, where it will be written."""
    read, scores = (
        read_table(path) if (path := run.folder / name).exists() else {} for name in ("columns.json", "scores.json")
    )
    edges, near, triples = (
        text.most_probable_first(found.edges),
        found.near_misses(),
        found.triple_records[:SHOWN_TRIPLES],
    )
    close = [_near(pair) for pair in near[:SHOWN_PAIRS]]
    given, words = (run.run.get("settings") or {}).get("knowledge") or {}, words_of(found.graph.kind)
    probable = found.changes is None  # where mechanisms change, tests decide
    page = DiscoverPage(
        template="discover.html.j2",
        **title(run, _headline(found)),
        lead=_lead(found, read, bool(given)),
        keys=_keys(found, scores),
        warnings=[*dict.fromkeys([*run.warnings, *found.warnings])],
        large=len(found.names) > LARGE_GRAPH_COLUMNS,
        graph=Markup(found.to_svg()),
        graph_text=_graph_text(found, given),
        edges=[edge_view(edge) for edge in edges[:SHOWN_EDGES]],
        edges_text=_edges_text(found, len(edges)),
        often=found.frequencies is not None,
        near=PageTable(_pairs_title(found), ["adjacent", "first", "second"], close),
        near_text=_near_text(len(near)),
        pairs=pair_plot(found),
        pairs_legend=legend_squares(),
        triples=[
            PageTable("", _triple_heads(found), [_triple(t, probable) for t in triples if t.collider == meets])
            for meets in (True, False)
        ],
        triples_text=_triples_text(found),
        columns=_columns(found, read),
        columns_text=_columns_text(read),
        trust=_trust(found),
        scores=_scores(scores),
        files=_files(run, page_folder),
        marks=[*words.marks, *(LINES if probable else [])],
        shares=words.shares,
        limits=words.limits,
    )
    return page if found.changes is None else with_changes(page, found, found.changes)


def _count(found: Discovery, *marks: str) -> int:
    return sum(edge.mark in marks for edge in found.edges)


def _headline(found: Discovery) -> str:
    edges, directed = len(found.edges), _count(found, "-->")
    if not edges:
        return f"No edges among {counted(len(found.names), 'column')}"
    sentence = f"{counted(edges, 'edge')} among {counted(len(found.names), 'column')}"
    if found.graph.kind == "PAG":
        hidden = _count(found, "<->")
        return f"{sentence}: {counted(directed, 'cause')}, {hidden} by a hidden cause, {edges - directed - hidden} open"
    if directed == edges:
        return f"{sentence}, with {'its direction' if edges == 1 else 'all their directions'}"
    if not directed:
        return f"{sentence}; {'it' if edges == 1 else 'each'} could point either way"
    return f"{sentence}, {directed} with a direction"


def _lead(found: Discovery, read: Mapping[str, Any], known: bool) -> str:
    seen = read.get("rows_seen")
    rows = counted(found.rows, "row")
    shown = f"{rows} drawn from {seen:,}" if isinstance(seen, int) and seen > found.rows else rows
    beside = ["these changes"] if found.changes is not None and found.changes.changing else []
    beside += ["what was known"] if known else []
    agreeing = f" that agree with {' and '.join(beside)}" if beside else ""
    kind = {
        "CPDAG": "class of causal graphs",
        "MPDAG": "class of causal graphs",
        "PAG": "class of causal graphs with hidden causes",
    }
    what = f"The {kind.get(found.graph.kind, 'graph')}{agreeing}"
    return f"{what}, as far as {shown} tell. {words_of(found.graph.kind).lead}"


def _keys(found: Discovery, scores: Mapping[str, Any]) -> list[Key]:
    directed, edges = _count(found, "-->"), len(found.edges)
    meeting = "two causes that meet; they fix directions"
    keys = [Key("Edges", str(edges), f"of {len(found.names) * (len(found.names) - 1) // 2} pairs")]
    if found.graph.kind == "PAG":
        visible = sum(isinstance(edge, FoundPagEdge) and edge.visible for edge in found.edges)
        hidden = _count(found, "<->")
        meeting = "arrowheads that meet; they fix marks"
        keys.append(Key("Causes", f"{directed} of {edges}" if edges else "none", f"{visible} visible"))
        keys.append(Key("By a hidden cause", str(hidden), f"{edges - directed - hidden} may be"))
    else:
        keys.append(Key("With a direction", f"{directed} of {edges}" if edges else "none", f"{edges - directed} open"))
    keys.append(Key("Colliders", str(len(found.graph.colliders)), meeting))
    if found.edges and found.changes is None:
        weakest = min(found.edges, key=lambda edge: edge.confidence)
        keys.append(
            Key(
                "Least sure edge",
                probability_text(weakest.confidence),
                f"{weakest.source} {_sign(weakest)} {weakest.target}",
            )
        )
    if not math.isnan(found.ood_score) and found.changes is None:
        keys.append(Key("Worse than the empty graph", rate_text(found.ood_score), "probability that this graph is"))
    if is_number(scores.get("shd")):
        keys.append(Key("Distance from the truth", str(scores["shd"]), "pairs that differ (SHD)"))
    return keys


SIGNS = {"-->": "→", "---": "—", "<->": "↔", "o->": "○→", "o-o": "○–○"}
"""Edges as the page writes them."""


def _sign(edge: EdgeRecord) -> str:
    return SIGNS.get(edge.mark, edge.mark)


def _graph_text(found: Discovery, given: Mapping[str, Any]) -> str:
    parts = []
    if found.changes is None:
        parts.append(
            "The number beside an edge is the probability that the two are adjacent, in the sense told under “How far "
            "to trust the numbers”; the less probable, the fainter the line."
        )
    if len(found.names) > LARGE_GRAPH_COLUMNS:
        parts.append("Where the picture is wider than the page, scroll it, or open graph.svg on its own.")
    if given and isinstance(given, Mapping):
        what = "; ".join(f"{name}: {_pairs(value)}" for name, value in given.items())
        parts.append(f"What was known beforehand took part in the directions ({what}).")
    return " ".join(parts)


def _pairs(value: Any) -> str:
    entries = value if isinstance(value, list | tuple) else [value]
    words = [list(map(str, entry)) if isinstance(entry, list | tuple) else [str(entry)] for entry in entries]
    return ", ".join((" → " if len(entry) == 2 else " ").join(entry) for entry in words)


def edge_view(edge: EdgeRecord) -> EdgeView:
    """An edge as a row of the table of edges."""
    p, half = edge.p_adjacent, 0.0 if edge.spread is None else 1.96 * edge.spread
    low, high = max(0.0, p - half), min(1.0, p + half)
    interval = "" if edge.spread is None else f"{low:.2f} to {high:.2f}"
    return EdgeView(
        source=edge.source,
        sign=_sign(edge),
        target=edge.target,
        visible=isinstance(edge, FoundPagEdge) and edge.visible,
        adjacent=probability_text(p),
        interval=interval,
        adjacent_bar=range_bar(p, low, high, f"adjacent: {p:.3f}"),
        marks=[Row(probability_text(p), bar) for p, bar in zip(edge.p_marks, mark_bars(edge), strict=True)],
        frequency="" if edge.frequency is None else rate_text(edge.frequency),
        confidence=probability_text(edge.confidence),
        weak=edge.confidence < 0.5,
    )


def _edges_text(found: Discovery, edges: int) -> str:
    words = words_of(found.graph.kind).edges
    if found.spread is not None:
        words += (
            " The ranges are ±1.96 standard deviations over subsamples of the rows; the share of subsamples that gave "
            "this very edge stands beside."
        )
    if any(edge.confidence < 0.5 for edge in found.edges):
        words += " Below 0.5 the arrow or line is amber."
    notes = (text.improbable_marks(found.edges), text.knowledge_note(found.graph))
    words += "".join(f" {note}" for note in notes if note)
    return words + (f" {edges - SHOWN_EDGES} more are in edges.csv." if edges > SHOWN_EDGES else "")


def _near(pair: FoundPair) -> list[str]:
    return [probability_text(pair.p_adjacent), pair.first, pair.second]


def _near_text(near: int) -> str:
    more = f" The {SHOWN_PAIRS} most probable of {near}; graph.json has all." if near > SHOWN_PAIRS else ""
    return f"No edge was drawn between these, but its probability is at least 0.05.{more}"


def _pairs_title(found: Discovery) -> str:
    pairs, edges = len(found.names) * (len(found.names) - 1) // 2, len(found.edges)
    absent = pairs - edges - len(found.near_misses())
    return f"Every pair: {edges} with an edge, {pairs - edges} without, {absent} of them below 0.05"


def _triple_heads(found: Discovery) -> list[str]:
    meeting = "both arrowheads in the middle" if found.graph.kind == "PAG" else "both cause the middle"
    return ["triple", meeting, "drawn so"] if found.changes is None else ["triple", meeting]


def _triple(triple: FoundTriple, probable: bool) -> list[str]:
    middle = "→ {} ←" if triple.collider else "– {} –"
    words = f"{triple.leg1} {middle.format(triple.centre)} {triple.leg2}"
    return [words, *([probability_text(triple.p_collider)] if probable else []), "yes" if triple.collider else "no"]


def _triples_text(found: Discovery) -> str:
    count = len(found.triples)
    if not count:
        none = "The graph has no two columns that meet in a third without being adjacent"
        return f"{none}, so no collider fixes a direction."
    more = f" {SHOWN_TRIPLES} of {count} are listed; colliders.csv has all." if count > SHOWN_TRIPLES else ""
    both = "both edges have an arrowhead there" if found.graph.kind == "PAG" else "both cause it"
    words = (
        f"Wherever two columns that are not adjacent meet in a third, either {both} (a collider), or not. "
        f"{_fixing(found)}"
    )
    return f"{words}{more}"


def _fixing(found: Discovery) -> str:
    """A sentence on the evidence that fixes directions in this graph."""
    if found.changes is not None:
        return "Colliders fix directions, and so do the changes, what was known, and what follows from all of them."
    if found.graph.kind == "MPDAG":
        return "Colliders and what was known, and what follows from both, fix directions; all else fits either way."
    return (
        "Only colliders, and what follows from them, fix directions; everything else can be turned round and fits "
        "alike."
    )


def _columns(found: Discovery, read: Mapping[str, Any]) -> PageTable:
    rows = []
    for column in _described(read):
        levels = column.values.get("levels")
        shown = list(map(str, levels)) if isinstance(levels, list) else []
        values = f"{len(shown)}: {', '.join(shown[:6])}{', …' if len(shown) > 6 else ''}" if shown else ""
        missing = column.number("missing", 0.0, 0.0, 1.0)
        why, kind = column.text("excluded", ""), column.text("kind", "")
        used = f"left out: {why}" if why else KIND_NAMES.get(kind, kind)
        rows.append([column.text("name"), used, values, rate_text(missing) if missing else ""])
    return PageTable("", ["column", "read as", "levels", "missing"], rows)


def _described(read: Mapping[str, Any]) -> list[Fields]:
    """The columns that `columns.json` describes."""
    columns = read.get("columns")
    return [Fields.of(c, COLUMNS_FILE, "run the search again") for c in columns] if isinstance(columns, list) else []


def _columns_text(read: Mapping[str, Any]) -> str:
    left = sum(bool(column.text("excluded", "")) for column in _described(read))
    out = f" {counted(left, 'column')} took no part and {'has' if left == 1 else 'have'} no edges." if left else ""
    return f"How each column was taken; --kinds COLUMN=KIND takes it otherwise.{out}"


def _trust(found: Discovery) -> list[Row]:
    worse = "the method does not say" if math.isnan(found.ood_score) else rate_text(found.ood_score)
    return [
        Row("Probabilities", found.reading) if found.graph.kind == "PAG" else Row("Calibration", found.reading),
        Row(WORSE_THAN_EMPTY, worse),
        Row("Reasons", "; ".join(found.ood_reasons) or "none"),
        contradictions_row(found),
        Row("Repeated on subsamples", "yes" if found.spread is not None else UNREPEATED[found.graph.kind == "PAG"]),
    ]


UNREPEATED = {False: "no; --subsamples 30 does", True: "no"}
"""Words for a result without subsamples, by whether it is a PAG."""


def _scores(scores: Mapping[str, Any]) -> list[Row]:
    words = {
        "shd": "pairs whose edge differs (SHD)",
        "skeleton_f1": "F1 of adjacencies",
        "orientation_f1": "F1 of directed edges",
        "collider_f1": "F1 of colliders",
        "shd_marks": "marks that differ, at both ends of all pairs",
        "pag_f1": "F1 of edges with both marks",
        "arrowhead_f1": "F1 of arrowheads",
        "tail_f1": "F1 of tails",
    }
    return [
        Row(words.get(name, name), plain(value) if isinstance(value, int) else decimal(value, 3))
        for name, value in scores.items()
        if is_number(value)
    ]


def _files(run: RunData, page_folder: Path) -> list[Row]:
    rows = []
    for name, words in FILE_NOTES.items():
        link = relative_link(run.folder / RESULT / name, page_folder)
        rows.append(Row(words, Markup('<a href="{}">{}</a>').format(link, name) if link else name))
    return rows
