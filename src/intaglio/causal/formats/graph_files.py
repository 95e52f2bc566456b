"""Reading of graph files: GML, DOT, DAGitty, CSV (a matrix or a list of edges), JSON."""

import csv
import io
from collections.abc import Iterable, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from intaglio.causal.formats.formula_cells import from_cell
from intaglio.causal.formats.graph_texts import from_dagitty, from_dot, from_gml
from intaglio.causal.graphs.graph import Graph
from intaglio.causal.graphs.marks import GRAPH_KINDS, GraphKind
from intaglio.data_files import parse_json, read_text, shown
from intaglio.errors import BadInput

TEXT_READERS = {".gml": from_gml, ".dot": from_dot, ".gv": from_dot, ".txt": from_dagitty, ".dagitty": from_dagitty}
SUFFIXES = (*TEXT_READERS, ".csv", ".json")
LARGEST_GRAPH = 64 * 2**20
"""Largest graph file that is read, in bytes."""
EDGE_COLUMNS = (("source", "target"), ("from", "to"), ("cause", "effect"))
"""Names of the two columns of a list of edges."""
OF_DISCOVERY = "p_adjacent"
"""The column by which a list of edges is known as that of a discovery."""


def read_graph(path: Path, names: Sequence[str] = ()) -> Graph:
    """The graph in a file, read by its suffix.

    - `.gml`; `.dot` or `.gv`; `.txt` or `.dagitty`: as `intaglio.causal.formats.graph_texts` reads them.
    - `.csv`: a square matrix under a line of names (with or without a first column of names), where a 1 in row i,
      column j is i → j and both ways are i — j; or a list of edges with columns `source`, `target` and perhaps `mark`
      and `graph` (the kind), where a row with a source alone is a variable, for those without edges.
    - `.json`: `graph.json` of a discovery, or {"names": [...], "adjacency": [[...]]}.

    Files that a discovery was saved in are read as the graph that was saved, with its kind.

    Args:
        path: the file.
        names: further variables for a list of edges, which may leave out those without edges.

    Raises:
        BadInput: a file that cannot be read, or that holds no graph.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise BadInput(f"{path} is no graph file by its name; give one that ends in {', '.join(SUFFIXES)}")
    text = read_text(path, LARGEST_GRAPH)
    try:
        if suffix == ".csv":
            return _from_csv(text, names)
        return _from_json(text) if suffix == ".json" else TEXT_READERS[suffix](text)
    except BadInput as error:
        raise BadInput(f"{path} holds no graph: {error}") from error


def _from_csv(text: str, names: Sequence[str]) -> Graph:
    try:
        exact = [row for row in csv.reader(io.StringIO(text)) if any(map(str.strip, row))]
    except csv.Error as error:
        raise BadInput(f"it cannot be read as CSV ({error}); check its quotes") from None
    if not exact:
        raise BadInput("it is empty; write a line of names first")
    rows = [[cell.strip() for cell in row] for row in exact]
    head = [cell.lower() for cell in rows[0]]
    if ends := next((pair for pair in EDGE_COLUMNS if set(pair) <= set(head)), None):
        # A discovery writes names as they are; those in a file by hand may have spaces around them.
        written = exact if OF_DISCOVERY in head else rows
        return _from_edges(written[1:], [head.index(end) for end in ends], head, names)
    named = not rows[0][0] or not any(_is_number(row[0]) for row in rows)
    columns, body = rows[0][named:], rows[1:]
    if len(body) != len(columns) or any(len(row) != len(rows[0]) for row in body):
        raise BadInput(f"a matrix under {len(columns)} names has as many rows and columns, and this one has not")
    if named and [row[0] for row in body] != columns:
        raise BadInput("the names of its rows are not those of its columns in their order; make them the same")
    if odd := [cell for row in body for cell in row[named:] if not _is_number(cell)]:
        raise BadInput(f"the entry {odd[0]!r} is no number; write 1 for an edge and 0 for none")
    matrix = np.array([[float(cell) for cell in row[named:]] for row in body]).reshape(len(body), len(columns))
    return _from_matrix(matrix, columns)


def _is_number(cell: str) -> bool:
    try:
        return isfinite(float(cell))
    except ValueError:
        return False


def _from_matrix(matrix: np.ndarray, names: Sequence[str]) -> Graph:
    lines = ((matrix != 0) & (matrix != 0).T).any() if matrix.ndim == 2 and len(set(matrix.shape)) == 1 else False
    return Graph.from_adjacency("CPDAG" if lines else "DAG", matrix, names)


def _from_edges(rows: list[list[str]], ends: list[int], head: list[str], names: Sequence[str]) -> Graph:
    if short := next((row for row in rows if len(row) < len(head)), None):
        raise BadInput(f"the line {','.join(short)} has fewer cells than the head; write both ends of each edge")

    def name(cell: str) -> str:
        read = from_cell(cell)
        return cell if cell in names and read not in names else read

    first, second = ends
    sign = head.index("mark") if "mark" in head else None
    signs = ["-->" if sign is None else row[sign] for row in rows]
    alone = [not row[second] and (sign is None or not row[sign]) for row in rows]
    found = dict.fromkeys(names)
    for row, single in zip(rows, alone, strict=True):
        found.update(dict.fromkeys(name(row[end]) for end in ends if row[end] or not single))
    edges = [
        (name(row[first]), mark, name(row[second]))
        for row, mark, single in zip(rows, signs, alone, strict=True)
        if not single
    ]
    if "graph" in head:
        return Graph.of(_told_kind({row[head.index("graph")] for row in rows}), found, edges)
    if OF_DISCOVERY in head:  # written before the kind was told
        return _class_of(found, edges)
    return Graph.of("CPDAG" if any(mark in ("---", "--") for mark in signs) else "DAG", found, edges)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{shown(value)} where a text is due")
    return value


def _told_kind(kinds: set[str]) -> GraphKind:
    if len(kinds) > 1:
        raise BadInput(f"it says that it is a {' and a '.join(sorted(kinds))}; a file has one graph, of one kind")
    kind = next(iter(kinds), "CPDAG")
    if kind not in GRAPH_KINDS:
        raise BadInput(f"it says {kind!r}, which is no kind of graph; give one of {', '.join(GRAPH_KINDS)}")
    return GRAPH_KINDS[GRAPH_KINDS.index(kind)]


def _class_of(names: Iterable[str], edges: Sequence[tuple[str, str, str]]) -> Graph:
    """The CPDAG of these edges or, where they are none, the MPDAG."""
    names = tuple(names)
    try:
        return Graph.of("CPDAG", names, edges)
    except BadInput:
        return Graph.of("MPDAG", names, edges)


def _from_json(text: str) -> Graph:
    plain: Any = parse_json(text, "its text", "export it again")
    try:
        if "graph" in plain:
            plain = plain["graph"]
            edges = [(_text(a), _text(sign), _text(b)) for a, sign, b in plain["edges"]]
            return Graph.of(_told_kind({_text(plain["kind"])}), [str(name) for name in plain["names"]], edges)
        return _from_matrix(np.array(plain["adjacency"], float), [str(name) for name in plain["names"]])
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise BadInput(
            'it is no JSON of the form {"names": [...], "adjacency": [[...]]}; ' + f"check it ({error})"
        ) from error
