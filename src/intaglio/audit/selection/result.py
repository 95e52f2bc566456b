"""The result of a selection: every candidate's score, and those that were chosen, stored and read again.

`selection.json` in the run's folder:

    {"method", "reading", "candidates": [{"name", "prompt", "hash"}, ...], "target": [as candidates],
     "scores": [float, ...], "chosen": [[place, weight], ...], "curve": [[count, distance], ...],
     "pictures": {name: path relative to the folder}}
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

FILE = "selection.json"


@dataclass(frozen=True, eq=False)
class Selection:
    """Candidates chosen for targets."""

    method: str
    """The method's name, such as `tarot`."""
    reading: str
    """What the score of a candidate says, as the end of a sentence."""
    candidates: tuple[str, ...]
    """Names of the n pictures of the pool."""
    candidate_prompts: tuple[str, ...]
    candidate_hashes: tuple[str, ...]
    target: tuple[str, ...]
    """Names of the pictures that are chosen for."""
    target_prompts: tuple[str, ...]
    target_hashes: tuple[str, ...]
    scores: Float[Tensor, "n"]
    """Of every candidate, float64, the higher the better; the unit is the method's own."""
    places: tuple[int, ...]
    """Of the chosen candidates, heaviest first."""
    weights: tuple[float, ...]
    """Of the chosen ones, in their order; they add up to 1."""
    curve: tuple[tuple[int, float], ...] = ()
    """(candidates, distance from the targets) as candidates were added; empty where the number was given."""
    pictures: Mapping[str, str] = field(default_factory=dict)
    """Paths of the chosen pictures' copies, relative to the run's folder, by name."""

    @property
    def statement(self) -> str:
        """The outcome in a sentence."""
        count, targets = len(self.places), len(self.target)
        first = self.candidates[self.places[0]]
        few = f"{targets} {'picture' if targets == 1 else 'pictures'}"
        return (
            f"{count} of {len(self.candidates)} candidates chosen for {few}; the first is {first}, with a weight of "
            f"{self.weights[0]:.2f}."
        )

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a candidate, the chosen first, then by score: candidate, chosen, weight, score."""
        weights = dict(zip(self.places, self.weights, strict=True))
        left = sorted((i for i in range(len(self.candidates)) if i not in weights), key=lambda i: (-self.scores[i], i))
        return [
            {
                "candidate": self.candidates[i],
                "chosen": i in weights,
                "weight": weights.get(i, 0.0),
                "score": float(self.scores[i]),
            }
            for i in (*self.places, *left)
        ]

    def to_frame(self) -> Any:
        """A pandas DataFrame of `rows`."""
        import pandas as pd  # only who asks for a frame waits for it

        return pd.DataFrame(self.rows())

    def figures(self) -> dict[str, Any]:
        """Counts, and the candidate of the greatest weight."""
        return {
            "statement": self.statement,
            "candidates": len(self.candidates),
            "chosen": len(self.places),
            "targets": len(self.target),
            "first": self.candidates[self.places[0]],
            "first_weight": self.weights[0],
        }

    def _repr_html_(self) -> str:
        """Counts and the candidates, for notebooks."""
        return result_html(f"Selection by {self.method}", self.figures(), self.rows())

    def save(self, folder: Path) -> None:
        """Writes `selection.csv`, a row a candidate, and `selection.json`, each atomically."""
        rows = self.rows()
        atomic_write(Path(folder) / "selection.csv", rows_csv(rows, list(rows[0])))
        atomic_write(Path(folder) / FILE, to_json(self.to_dict()) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "Selection | None":
        """The result stored in a run's folder; None where there is none.

        Raises `BadInput` for a file that is damaged, or that lacks what this version needs.
        """
        return load_result(Path(folder) / FILE, cls.from_dict, "audit")

    def to_dict(self) -> dict[str, Any]:
        """The content of `selection.json`."""
        return {
            "method": self.method,
            "reading": self.reading,
            "candidates": _rows_of(self.candidates, self.candidate_prompts, self.candidate_hashes),
            "target": _rows_of(self.target, self.target_prompts, self.target_hashes),
            "scores": self.scores.tolist(),
            "chosen": [list(one) for one in zip(self.places, self.weights, strict=True)],
            "curve": [list(one) for one in self.curve],
            "pictures": dict(self.pictures),
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Selection":
        """The inverse of `to_dict`. Raises `ValueError` for numbers that do not belong to the candidates."""
        pool, target = _columns(stored["candidates"]), _columns(stored["target"])
        scores = torch.tensor([float(one) for one in stored["scores"]], dtype=torch.float64)
        places = tuple(int(place) for place, _ in stored["chosen"])
        if len(scores) != len(pool[0]) or not places or not all(0 <= place < len(scores) for place in places):
            raise ValueError(f"{len(pool[0])} candidates have {len(scores)} scores, and {places} are chosen")
        weights = tuple(float(weight) for _, weight in stored["chosen"])
        curve = tuple((int(count), float(distance)) for count, distance in stored["curve"])
        pictures = {str(name): str(path) for name, path in stored["pictures"].items()}
        method, reading = str(stored["method"]), str(stored["reading"])
        return cls(method, reading, *pool, *target, scores, places, weights, curve, pictures)


def _rows_of(names: Sequence[str], prompts: Sequence[str], hashes: Sequence[str]) -> list[dict[str, str]]:
    return [
        {"name": name, "prompt": prompt, "hash": one} for name, prompt, one in zip(names, prompts, hashes, strict=True)
    ]


def _columns(rows: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    names, prompts, hashes = (tuple(str(row[key]) for row in rows) for key in ("name", "prompt", "hash"))
    return names, prompts, hashes
