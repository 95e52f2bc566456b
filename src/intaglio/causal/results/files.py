"""A `Discovery` as a folder, and back.

`graph.json` holds everything, every number exactly; the other files are for people and packages:

- `edges.csv`, `colliders.csv`: the records of `Discovery.edges` and `Discovery.triple_records`;
- `graph.gml` (with probabilities), `graph.dot`, `graph.dagitty.txt`;
- `graph.svg`: the picture, with the probability of each edge.
"""

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np

from intaglio.causal.formats.svg import drawn
from intaglio.causal.formats.texts import to_dagitty, to_dot
from intaglio.causal.graphs.graph import Graph
from intaglio.causal.graphs.marks import spelt
from intaglio.causal.results.discovery import Discovery, FoundEdge, FoundTriple
from intaglio.errors import BadInput
from intaglio.files import atomic_folder
from intaglio.runs.tables import rows_csv, without_nan

FILE = "graph.json"
FORMAT = 1
MATRICES = {
    "adjacent": np.float64,
    "marks": np.float64,
    "triples": np.int64,
    "colliders": np.float64,
    "spread": np.float64,
    "frequencies": np.float64,
}


def write(found: Discovery, folder: Path) -> None:
    """All files, or none; an older graph in the folder is replaced."""
    with atomic_folder(Path(folder), FILE, holding="causal graph") as fresh:
        for name, text in texts(found).items():
            (fresh / name).write_text(text, encoding="utf-8")


def texts(found: Discovery) -> dict[str, str]:
    """The content of every file by its name."""
    return {
        FILE: json.dumps(to_dict(found), ensure_ascii=False) + "\n",
        "edges.csv": rows_csv([asdict(edge) for edge in found.edges], [field.name for field in fields(FoundEdge)]),
        "colliders.csv": rows_csv(
            [asdict(triple) for triple in found.triple_records], [field.name for field in fields(FoundTriple)]
        ),
        "graph.gml": "\n".join(nx.generate_gml(found.to_networkx())) + "\n",
        "graph.dot": to_dot(found.graph),
        "graph.dagitty.txt": to_dagitty(found.graph),
        "graph.svg": picture(found),
    }


def picture(found: Discovery) -> str:
    """The SVG of the graph, the probability of adjacency on each edge."""
    return drawn(found.graph, {(edge.source, edge.target): edge.p_adjacent for edge in found.edges})


def to_dict(found: Discovery) -> dict[str, Any]:
    """Plain values for JSON; nothing is rounded."""
    plain = {
        field.name: getattr(found, field.name) for field in fields(found) if field.name not in ("graph", *MATRICES)
    }
    matrices = {name: None if (m := getattr(found, name)) is None else m.tolist() for name in MATRICES}
    edges = [[e.first, spelt(e.at_first, e.at_second), e.second] for e in found.graph.edges]
    graph = {"kind": found.graph.kind, "names": list(found.names), "edges": edges}
    return without_nan({"format": FORMAT, "graph": graph, **plain, **matrices})


def from_dict(plain: dict[str, Any]) -> Discovery:
    """Raises KeyError, TypeError or ValueError for what is no discovery, `BadInput` for what is no graph."""
    graph = plain["graph"]
    shapes = {"triples": (-1, 3), "marks": (len(graph["names"]),) * 2 + (3,)}
    known: dict[str, Any] = {}
    for name, kind in MATRICES.items():
        value = None if plain[name] is None else np.array(plain[name], kind)
        known[name] = value.reshape(shapes[name]) if value is not None and name in shapes else value
    edges = [(str(a), str(sign), str(b)) for a, sign, b in graph["edges"]]
    ood = plain["ood_score"]
    return Discovery(
        method=str(plain["method"]),
        graph=Graph.of(graph["kind"], map(str, graph["names"]), edges),
        **known,
        conflicts=int(plain["conflicts"]),
        fallback=bool(plain["fallback"]),
        ood_score=float("nan") if ood is None else float(ood),
        ood_reasons=tuple(plain["ood_reasons"]),
        duplicates=tuple(map(tuple, plain["duplicates"])),
        isolated=tuple(plain["isolated"]),
        warnings=tuple(plain["warnings"]),
        rows=int(plain["rows"]),
        seconds=float(plain["seconds"]),
    )


def read(folder: Path) -> Discovery:
    """The discovery of a folder, or of one `graph.json`."""
    path = Path(folder) / FILE if Path(folder).is_dir() else Path(folder)
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(
            f"{path} cannot be read ({error.strerror}); name a folder that a discovery was saved in"
        ) from None
    except ValueError as error:
        raise BadInput(f"{path} is not JSON ({error}); name a folder that a discovery was saved in") from None
    if not isinstance(plain, dict) or plain.get("format") != FORMAT:
        raise BadInput(f"{path} is no discovery of format {FORMAT}; save it again with this version")
    try:
        return from_dict(plain)
    except (KeyError, TypeError, ValueError) as error:
        what = f"lacks {error}" if isinstance(error, KeyError) else f"is damaged ({error})"
        raise BadInput(f"{path} {what}; run the search again") from error
