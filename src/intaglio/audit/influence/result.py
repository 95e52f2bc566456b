"""The result of an influence audit: a number for each pair of a query and a training picture, stored and read again.

`influence.json` in the run's folder:

    {"method", "reading", "unit", "train": [{"name", "prompt", "hash"}, ...], "queries": [as train],
     "tau": [[float, ...], ...], "shown", "pictures": {"train" | "queries": {name: path relative to the folder}}}
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.files import atomic_write
from intaglio.images.notebook import result_html
from intaglio.runs.plain_json import to_json
from intaglio.runs.read import load_result
from intaglio.runs.tables import rows_csv

FILE = "influence.json"


@dataclass(frozen=True, eq=False)
class InfluenceScores:
    """Influences of n training pictures on q queries."""

    method: str
    """The method's name, such as `trak`."""
    reading: str
    """What the number of a training picture says, as the end of a sentence."""
    unit: str
    """Unit of the numbers, in words."""
    train: tuple[str, ...]
    """Names of the training pictures."""
    train_prompts: tuple[str, ...]
    train_hashes: tuple[str, ...]
    queries: tuple[str, ...]
    """Names of the pictures that are asked about."""
    query_prompts: tuple[str, ...]
    query_hashes: tuple[str, ...]
    tau: Float[Tensor, "q n"]
    """Predicted change of a query's loss when a training picture is removed, float64: positive for proponents. The unit
    is the method's own."""
    pictures: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Paths of stored pictures, relative to the run's folder, by `train` or `queries` and name."""
    shown: int = 4
    """Proponents of each query, and as many opponents, that a report shows."""

    def ranking(self, query: int) -> list[int]:
        """The places of the training pictures, strongest proponent first; equal ones in their own order."""
        row = self.tau[query].tolist()
        return sorted(range(len(row)), key=lambda i: (-row[i], i))

    def proponents(self, query: int, count: int) -> list[int]:
        """The places of the strongest `count` with a positive number, strongest first."""
        return [i for i in self.ranking(query) if self.tau[query, i] > 0][:count]

    def opponents(self, query: int, count: int) -> list[int]:
        """The places of the strongest `count` with a negative number, strongest first."""
        return [i for i in reversed(self.ranking(query)) if self.tau[query, i] < 0][:count]

    def is_itself(self, query: int, example: int) -> bool:
        """Whether a training picture is the query: equal pixels."""
        return self.query_hashes[query] == self.train_hashes[example]

    @property
    def own_ranks(self) -> dict[int, int]:
        """The best rank, from 1, of the query's own picture, by the place of each query that is a training picture."""
        found = {}
        for query in range(len(self.queries)):
            ranks = [rank for rank, i in enumerate(self.ranking(query), 1) if self.is_itself(query, i)]
            if ranks:
                found[query] = ranks[0]
        return found

    @property
    def statement(self) -> str:
        """The outcome in one or two sentences."""
        count, pictures = len(self.queries), len(self.train)
        first = self.train[self.ranking(0)[0]]
        said = f"{pictures} training {_pictures(pictures)} ranked for {count} {_pictures(count)}; for {self.queries[0]}"
        said += f", {first} stands first."
        if own := self.own_ranks:
            at_top = sum(rank == 1 for rank in own.values())
            are = "is itself a training picture" if len(own) == 1 else "are themselves training pictures"
            said += f" {len(own)} of the {_pictures(count)} asked about {are}, of which {at_top} "
            said += f"{'ranks' if at_top == 1 else 'rank'} first for {'itself' if at_top == 1 else 'themselves'}."
        return said

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a pair, by query, strongest proponent first: query, rank from 1, example, tau, itself."""
        return [
            {
                "query": name,
                "rank": rank,
                "example": self.train[i],
                "tau": float(self.tau[query, i]),
                "itself": self.is_itself(query, i),
            }
            for query, name in enumerate(self.queries)
            for rank, i in enumerate(self.ranking(query), 1)
        ]

    def to_frame(self) -> Any:
        """A pandas DataFrame of tau, a row a query and a column a training picture."""
        import pandas as pd  # only who asks for a frame waits for it

        return pd.DataFrame(self.tau.numpy(), index=list(self.queries), columns=list(self.train))

    def figures(self) -> dict[str, Any]:
        """Counts, and the first training picture of the first query."""
        own, first = self.own_ranks, self.ranking(0)[0]
        return {
            "statement": self.statement,
            "queries": len(self.queries),
            "examples": len(self.train),
            "queries_among_examples": len(own),
            "of_which_first": sum(rank == 1 for rank in own.values()),
            "first": self.train[first],
            "first_tau": float(self.tau[0, first]),
        }

    def _repr_html_(self) -> str:
        """Counts and the ranked pairs, for notebooks."""
        return result_html(f"Influence by {self.method}", self.figures(), self.rows())

    def save(self, folder: Path) -> None:
        """Writes `influence.csv`, every pair by query and rank, and `influence.json`, each atomically."""
        rows = self.rows()
        atomic_write(Path(folder) / "influence.csv", rows_csv(rows, list(rows[0])))
        atomic_write(Path(folder) / FILE, to_json(self.to_dict()) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "InfluenceScores | None":
        """The result stored in a run's folder; None where there is none.

        Raises `BadInput` for a file that is damaged, or that lacks what this version needs.
        """
        return load_result(Path(folder) / FILE, cls.from_dict, "audit")

    def to_dict(self) -> dict[str, Any]:
        """The content of `influence.json`."""
        train = zip(self.train, self.train_prompts, self.train_hashes, strict=True)
        queries = zip(self.queries, self.query_prompts, self.query_hashes, strict=True)
        return {
            "method": self.method,
            "reading": self.reading,
            "unit": self.unit,
            "train": [{"name": name, "prompt": prompt, "hash": one} for name, prompt, one in train],
            "queries": [{"name": name, "prompt": prompt, "hash": one} for name, prompt, one in queries],
            "tau": self.tau.tolist(),
            "shown": self.shown,
            "pictures": {kind: dict(paths) for kind, paths in self.pictures.items()},
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "InfluenceScores":
        """The inverse of `to_dict`. Raises `ValueError` for numbers that are not as many as the pairs."""
        train, queries = _column(stored["train"]), _column(stored["queries"])
        tau = torch.tensor([[float(value) for value in row] for row in stored["tau"]], dtype=torch.float64)
        if tau.shape != (len(queries[0]), len(train[0])):
            raise ValueError(f"{len(queries[0])} times {len(train[0])} pairs have numbers of shape {tuple(tau.shape)}")
        pictures = {
            str(kind): {str(name): str(path) for name, path in paths.items()}
            for kind, paths in stored["pictures"].items()
        }
        method, reading, unit = (str(stored[name]) for name in ("method", "reading", "unit"))
        return cls(method, reading, unit, *train, *queries, tau, pictures, int(stored["shown"]))


def _column(rows: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Names, prompts and hashes."""
    names, prompts, hashes = (tuple(str(row[key]) for row in rows) for key in ("name", "prompt", "hash"))
    return names, prompts, hashes


def _pictures(count: int) -> str:
    return "picture" if count == 1 else "pictures"
