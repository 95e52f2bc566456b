"""The folder of a saved discovery: named texts, of which `graph.json` holds everything.

- `edges.csv`: the records of edges, then a row with a source alone for each column without edges, all with the kind of
  the graph, so that it is read back as it was; `colliders.csv`: the records of unshielded triples. Names that a
  spreadsheet would run as formulas have an apostrophe before them;
- `graph.gml` (with probabilities), `graph.dot`, `graph.dagitty.txt`: for other software;
- `graph.svg`: the drawing, with the probability of each edge.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from intaglio import data_files
from intaglio.causal.formats.formula_cells import as_cell
from intaglio.causal.graphs.graph import Graph
from intaglio.causal.results.records import EdgeRecord, FoundTriple
from intaglio.errors import BadInput
from intaglio.files import atomic_folder
from intaglio.runs.tables import missing

GRAPH_FILE = "graph.json"
NAME_COLUMNS = {"source", "target", "centre", "leg1", "leg2"}
"""Columns of the CSV files that hold names of variables."""
FORMAT_VERSION = 1
"""Version of the layout of `graph.json`, written under `format`."""


def write_folder(folder: Path, texts: Mapping[str, str]) -> None:
    """Writes every text under its name, or none; an older graph in the folder is replaced.

    Raises:
        BadInput: the folder holds something else. IntaglioError: the disk refuses.
    """
    with atomic_folder(Path(folder), GRAPH_FILE, holding="causal graph") as fresh:
        for name, text in texts.items():
            (fresh / name).write_text(text, encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """The content of a `graph.json` of this format.

    Raises:
        BadInput: it cannot be read, is not JSON, or is of another format.
    """
    plain = data_files.read_json(path, "name a folder that a discovery was saved in")
    if not isinstance(plain, dict) or plain.get("format") != FORMAT_VERSION:
        raise BadInput(f"{path} is no discovery of format {FORMAT_VERSION}; save it again with this version")
    return plain


def edges_csv(edges: Sequence[EdgeRecord], kind: type[EdgeRecord], graph: Graph) -> str:
    """The records of the edges of a graph and its variables without edges as CSV, with its kind in each row."""
    alone = [name for name in graph.names if not graph.adjacent(name)]
    rows = [asdict(edge) for edge in edges] + [{"source": name} for name in alone]
    # Without variables one row has the kind alone.
    return _csv([{**row, "graph": graph.kind} for row in rows or [{}]], [*_columns(kind), "graph"])


def triples_csv(triples: Sequence[FoundTriple]) -> str:
    """The records of unshielded triples as CSV."""
    return _csv([asdict(triple) for triple in triples], _columns(FoundTriple))


def _columns(kind: type[EdgeRecord | FoundTriple]) -> list[str]:
    return [field.name for field in fields(kind)]


def _csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Rows as CSV with a head; a value that a row lacks is an empty cell."""
    lines = [_line(columns)]
    for row in rows:
        cells = (as_cell(row.get(name, "")) if name in NAME_COLUMNS else row.get(name) for name in columns)
        lines.append(_line(["" if missing(cell) else cell for cell in cells]))
    return "".join(lines)


def _line(cells: Sequence[Any]) -> str:
    buffer = io.StringIO(newline="")
    # A cell with a carriage return is put in quotes only where lines end in one.
    csv.writer(buffer, lineterminator="\r\n").writerow(cells)
    return buffer.getvalue().removesuffix("\r\n") + "\n"
