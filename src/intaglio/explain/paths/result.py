"""The result of a search for paths: edges between filters with their effects, and the graph of a class.

`paths.safetensors` in the run's folder has the effects of every picture, `paths.csv` a line a tested edge, and
`class_graph.csv` the edges of the graph alone, with columns `source` and `target`, as a list of edges.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from intaglio.explain.filter_chain import FilterEdge
from intaglio.files import atomic_write
from intaglio.runs.stored_table import StoredTable
from intaglio.runs.tables import rows_csv

FILE, TABLE, GRAPH = "paths.safetensors", "paths.csv", "class_graph.csv"
COLUMNS = ["edge", "source", "target", "effect", "p", "q", "kept"]
OUTCOMES = ("whole", "graph", "random", "nothing")
"""Networks whose answers are told: as it is, of the graph's edges alone, of as many random ones, of none."""


@dataclass(frozen=True, eq=False)
class ClassGraph(StoredTable):
    """Edges between filters that were tested by one method, and which of them make the graph of a class."""

    file: ClassVar[str] = FILE
    table: ClassVar[str] = TABLE
    remedy: ClassVar[str] = "the same command searches again"

    method: str
    reading: str
    head: str
    names: tuple[str, ...]
    """Of each layer's module; the last is the class."""
    sources: tuple[str, ...]
    """Of the module whose filters each layer takes."""
    rate: float
    """False-discovery rate of the tested edges."""
    others: int
    """Pictures of the reference set."""
    edges: tuple[FilterEdge, ...]
    effects: Float[Tensor, "n e"]
    """Fall of the score of each picture without each edge."""
    p: Float[Tensor, "e"]
    q: Float[Tensor, "e"]
    kept: Bool[Tensor, "e"]
    """Whether an edge is in the graph."""
    shares: Mapping[str, float]
    """Share of the tested pictures that are called the class, by `OUTCOMES`."""
    scores: Mapping[str, float]
    """Mean score of the class."""

    @property
    def heading(self) -> str:
        """The result in a few words."""
        return f"Paths to {self.names[-1]} by {self.method}"

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return COLUMNS

    @cached_property
    def means(self) -> np.ndarray:
        """Mean effects over pictures."""
        return self.effects.double().mean(0).numpy()

    @property
    def statement(self) -> str:
        """The outcome in a sentence."""
        count, shares = int(self.kept.sum()), self.shares
        if not count:
            return f"No path to {self.names[-1]} was found: of {len(self.edges)} tested edges none on one passes."
        return (
            f"{count:,} of {len(self.edges):,} tested edges lie on paths to {self.names[-1]}; with these alone the "
            f"network calls {shares['graph']:.0%} of {len(self.effects)} pictures so, with as many random ones "
            f"{shares['random']:.0%}, with all {shares['whole']:.0%}."
        )

    def ends(self, edge: FilterEdge) -> tuple[str, str]:
        """Names of an edge's source and target."""
        last = edge.layer == len(self.names) - 1
        target = self.names[-1] if last else f"{self.names[edge.layer]} {edge.target}"
        return f"{self.sources[edge.layer]} {edge.source}", target

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a tested edge, those of the graph first, the largest effect first; the keys are `COLUMNS`."""
        order = sorted(range(len(self.edges)), key=lambda k: (not self.kept[k], -abs(self.means[k]), k))
        rows = []
        for k in order:
            source, target = self.ends(self.edges[k])
            told = {"edge": f"{source} -> {target}", "source": source, "target": target, "effect": float(self.means[k])}
            rows.append({**told, "p": float(self.p[k]), "q": float(self.q[k]), "kept": bool(self.kept[k])})
        return rows

    def figures(self) -> dict[str, Any]:
        """Counts, and what the network says with the graph's edges alone."""
        told = {f"called_{name}": self.shares[name] for name in OUTCOMES}
        told |= {f"score_{name}": self.scores[name] for name in OUTCOMES}
        return {
            "edges": len(self.edges),
            "kept": int(self.kept.sum()),
            "pictures": len(self.effects),
            "others": self.others,
            **told,
        }

    def save(self, folder: Path) -> None:
        """Writes the tables and the tensors into a folder, each atomically."""
        graph = [one for one in self.rows() if one["kept"]]
        atomic_write(folder / GRAPH, rows_csv(graph, ["source", "target", "effect"]))
        super().save(folder)

    def _parts(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        edges = torch.tensor([[one.layer, one.source, one.target] for one in self.edges], dtype=torch.int64)
        about = {name: getattr(self, name) for name in ("method", "reading", "head", "rate", "others")}
        about |= {"names": list(self.names), "sources": list(self.sources)}
        about |= {"shares": dict(self.shares), "scores": dict(self.scores)}
        tensors = {"edges": edges, "effects": self.effects, "p": self.p, "q": self.q, "kept": self.kept}
        return tensors, about

    @classmethod
    def _of(cls, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> "ClassGraph":
        names, sources = tuple(map(str, about["names"])), tuple(map(str, about["sources"]))
        edges = tuple(FilterEdge(*one) for one in tensors["edges"].tolist())
        effects, p, q, kept = (tensors[name] for name in ("effects", "p", "q", "kept"))
        if not edges or effects.shape[1:] != (len(edges),) or any(one.shape != (len(edges),) for one in (p, q, kept)):
            raise ValueError("effects do not fit the edges")
        if len(names) != len(sources) or any(not 0 <= one.layer < len(names) for one in edges):
            raise ValueError("edges do not fit the layers")
        shares, scores = ({name: float(about[key][name]) for name in OUTCOMES} for key in ("shares", "scores"))
        texts = (str(about["method"]), str(about["reading"]), str(about["head"]))
        counts = (float(about["rate"]), int(about["others"]))
        return cls(*texts, names, sources, *counts, edges, effects, p, q, kept.bool(), shares, scores)
