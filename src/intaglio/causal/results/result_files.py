"""The folder of a saved discovery: named texts, of which `graph.json` holds everything.

- `edges.csv`, `colliders.csv`: the records of edges and unshielded triples;
- `graph.gml` (with probabilities), `graph.dot`, `graph.dagitty.txt`: for other software;
- `graph.svg`: the drawing, with the probability of each edge.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from intaglio.causal.results.records import FoundEdge, FoundTriple
from intaglio.errors import BadInput
from intaglio.files import atomic_folder
from intaglio.runs.tables import rows_csv

GRAPH_FILE = "graph.json"
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
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(
            f"{path} cannot be read ({error.strerror}); name a folder that a discovery was saved in"
        ) from None
    except ValueError as error:
        raise BadInput(f"{path} is not JSON ({error}); name a folder that a discovery was saved in") from None
    if not isinstance(plain, dict) or plain.get("format") != FORMAT_VERSION:
        raise BadInput(f"{path} is no discovery of format {FORMAT_VERSION}; save it again with this version")
    return plain


def records_csv(records: Sequence[FoundEdge] | Sequence[FoundTriple], kind: type[FoundEdge | FoundTriple]) -> str:
    """Records as CSV, a column per field of their kind."""
    return rows_csv([asdict(record) for record in records], [field.name for field in fields(kind)])
