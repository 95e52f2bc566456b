"""Reading of graph files: GML, DOT, DAGitty, CSV (a matrix or a list of edges), JSON."""

import csv
import json
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from intaglio.causal.formats.graph_texts import from_dagitty, from_dot, from_gml
from intaglio.causal.graphs.graph import Graph
from intaglio.causal.graphs.marks import GraphKind
from intaglio.errors import BadInput

TEXT_READERS = {".gml": from_gml, ".dot": from_dot, ".gv": from_dot, ".txt": from_dagitty, ".dagitty": from_dagitty}
SUFFIXES = (*TEXT_READERS, ".csv", ".json")
EDGE_COLUMNS = (("source", "target"), ("from", "to"), ("cause", "effect"))
"""Names of the two columns of a list of edges."""


def read_graph(path: Path, names: Sequence[str] = ()) -> Graph:
    """The graph in a file, read by its suffix.

    - `.gml`; `.dot` or `.gv`; `.txt` or `.dagitty`: as `intaglio.causal.formats.graph_texts` reads them.
    - `.csv`: a square matrix under a line of names (with or without a first column of names), where a 1 in row i,
      column j is i → j and both ways are i — j; or a list of edges with columns `source`, `target` and perhaps `mark`.
    - `.json`: `graph.json` of a discovery, or {"names": [...], "adjacency": [[...]]}.

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
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} cannot be read ({error}); check the path") from None
    try:
        if suffix == ".csv":
            return _from_csv(text, names)
        return _from_json(text) if suffix == ".json" else TEXT_READERS[suffix](text)
    except BadInput as error:
        raise BadInput(f"{path} holds no graph: {error}") from error


def _from_csv(text: str, names: Sequence[str]) -> Graph:
    rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines()) if any(map(str.strip, row))]
    if not rows:
        raise BadInput("it is empty; write a line of names first")
    head = [cell.lower() for cell in rows[0]]
    if ends := next((pair for pair in EDGE_COLUMNS if set(pair) <= set(head)), None):
        return _from_edges(rows[1:], [head.index(end) for end in ends], head, names)
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
    sign = head.index("mark") if "mark" in head else None
    if short := next((row for row in rows if len(row) < len(head)), None):
        raise BadInput(f"the line {','.join(short)} has fewer cells than the head; write both ends of each edge")
    edges = [(row[ends[0]], "-->" if sign is None else row[sign], row[ends[1]]) for row in rows]
    found = dict.fromkeys([*names, *(row[end] for row in rows for end in ends)])
    kind: GraphKind = "CPDAG" if any(mark in ("---", "--") for _, mark, _ in edges) else "DAG"
    return Graph.of(kind, found, edges)


def _from_json(text: str) -> Graph:
    try:
        plain: Any = json.loads(text)
        if "graph" in plain:
            plain = plain["graph"]
            return Graph.of(plain["kind"], map(str, plain["names"]), [tuple(edge) for edge in plain["edges"]])
        return _from_matrix(np.array(plain["adjacency"], float), [str(name) for name in plain["names"]])
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(
            'it is no JSON of the form {"names": [...], "adjacency": [[...]]}; ' + f"check it ({error})"
        ) from error
