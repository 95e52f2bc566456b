"""The layout of `graph.json`: the fields of a discovery as plain values, and back."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from intaglio.causal.graphs.graph import Graph
from intaglio.causal.graphs.marks import sign_of
from intaglio.causal.results import text
from intaglio.causal.results.changes import Changes
from intaglio.causal.results.result_files import FORMAT_VERSION
from intaglio.data_files import shown
from intaglio.runs.tables import without_nan

ARRAYS = {
    "adjacent": np.float64,
    "marks": np.float64,
    "triples": np.int64,
    "colliders": np.float64,
    "spread": np.float64,
    "frequencies": np.float64,
}
"""The fields of `Discovery` that are arrays, with their type."""


def plain_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a discovery as plain values for JSON, every number exact; NaN becomes None."""
    graph = values["graph"]
    plain = {name: value for name, value in values.items() if name not in ("graph", "changes", *ARRAYS)}
    if (changes := values["changes"]) is not None:
        plain["changes"] = asdict(changes)
    arrays = {name: None if (array := values[name]) is None else array.tolist() for name in ARRAYS}
    edges = [[e.first, sign_of(e.at_first, e.at_second), e.second] for e in graph.edges]
    layout = {"kind": graph.kind, "names": list(graph.names), "edges": edges}
    return without_nan({"format": FORMAT_VERSION, "graph": layout, **plain, **arrays})


def field_values(plain: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the discovery that `plain_values` was called on; without a `reading` it is of an older version.

    Raises:
        KeyError, TypeError, ValueError, OverflowError: it is no discovery. BadInput: its graph is none.
    """
    graph, ood = plain["graph"], plain["ood_score"]
    shapes = {"triples": (-1, 3), "marks": (len(graph["names"]),) * 2 + (3,)}
    arrays: dict[str, Any] = {}
    for name, kind in ARRAYS.items():
        array = None if plain[name] is None else np.array(plain[name], kind)
        arrays[name] = array.reshape(shapes[name]) if array is not None and name in shapes else array
    edges = [(_text(a), _text(sign), _text(b)) for a, sign, b in graph["edges"]]
    return {
        "method": _text(plain["method"]),
        "graph": Graph.of(graph["kind"], _texts(graph["names"]), edges),
        **arrays,
        "conflicts": int(plain["conflicts"]),
        "fallback": bool(plain["fallback"]),
        "ood_score": float("nan") if ood is None else float(ood),
        "ood_reasons": _texts(plain["ood_reasons"]),
        "duplicates": tuple(map(_texts, plain["duplicates"])),
        "isolated": _texts(plain["isolated"]),
        "warnings": _texts(plain["warnings"]),
        "rows": int(plain["rows"]),
        "seconds": float(plain["seconds"]),
        "reading": _text(plain.get("reading", text.CALIBRATED)),
        "changes": None if plain.get("changes") is None else Changes.from_dict(plain["changes"]),
    }


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{shown(value)} where a text is due")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise TypeError(f"{shown(value)} where a list of texts is due")
    return tuple(map(_text, value))
