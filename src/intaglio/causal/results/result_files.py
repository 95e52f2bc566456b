"""The folder of a saved discovery: named texts, of which `graph.json` holds everything.

- `edges.csv`, `colliders.csv`: the records of edges, with the kind of the graph, and of unshielded triples; names that
  a spreadsheet would run as formulas have an apostrophe before them;
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


def records_csv(
    records: Sequence[EdgeRecord] | Sequence[FoundTriple], kind: type[EdgeRecord | FoundTriple], **same: str
) -> str:
    """Records as CSV, a column per field of their kind and per word that is the `same` in all rows."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, [*(field.name for field in fields(kind)), *same], lineterminator="\n")
    writer.writeheader()
    for record in records:
        row = {**asdict(record), **same}
        # Only names are made safe: marks such as --> are ours, and other programs read them as they are.
        named = {name: as_cell(row[name]) for name in NAME_COLUMNS & row.keys()}
        writer.writerow({key: "" if missing(value) else value for key, value in (row | named).items()})
    return buffer.getvalue()
