"""The result of a search for concepts: directions with importances, examples and maps; stored and read again.

`concepts.safetensors` in the run's folder has the directions and the maps, and in its metadata a note of the rest;
`concepts.csv` has a line a concept.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor

from intaglio.runs.stored_table import StoredTable

FILE, TABLE = "concepts.safetensors", "concepts.csv"
COLUMNS = ["concept", "importance", "low", "high", "largest_code", "crops"]
Example = tuple[str, int, int, int, float]
"""Picture's name, top, left and side of the crop in pixels, and its code."""


@dataclass(frozen=True, eq=False)
class FoundConcept:
    """One concept."""

    importance: float
    """Its total Sobol' index, as a mean over pictures."""
    interval: tuple[float, float]
    """Of 95%, by resampling pictures."""
    examples: tuple[Example, ...]
    """Crops of its largest codes, the largest first."""
    shown: tuple[str, ...]
    """Names of the pictures that these come from, some of them."""
    maps: Float[Tensor, "s h w"]
    """Where its code comes from in each of them, 0 or more."""


@dataclass(frozen=True, eq=False)
class Concepts(StoredTable):
    """Concepts of pictures by one method, the most important for one class first."""

    file: ClassVar[str] = FILE
    table: ClassVar[str] = TABLE
    remedy: ClassVar[str] = "the same command finds the concepts again"

    method: str
    reading: str
    head: str
    target: str
    """Name of the class."""
    layer: str
    crops: int
    left: float
    """Share of the features' variance that the codes leave unexplained."""
    concepts: tuple[FoundConcept, ...]
    bank: Float[Tensor, "k c"]
    """Their directions, rows of unit length."""

    @property
    def heading(self) -> str:
        """The result in a few words."""
        return f"Concepts by {self.method}"

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return COLUMNS

    @property
    def statement(self) -> str:
        """The outcome in a sentence."""
        first = self.concepts[0]
        low, high = first.interval
        return (
            f"{len(self.concepts)} concepts of {self.crops:,} crops explain {1 - self.left:.0%} of their features; the "
            f"first has a total effect of {first.importance:.2f} ({low:.2f} to {high:.2f}) on {self.target}."
        )

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a concept; the keys are `COLUMNS`."""
        return [
            {
                "concept": number,
                "importance": one.importance,
                "low": one.interval[0],
                "high": one.interval[1],
                "largest_code": one.examples[0][-1],
                "crops": "; ".join(f"{name} {top},{left}" for name, top, left, _, _ in one.examples),
            }
            for number, one in enumerate(self.concepts)
        ]

    def figures(self) -> dict[str, Any]:
        """Counts, the share of variance left, and the largest importance."""
        return {
            "concepts": len(self.concepts),
            "crops": self.crops,
            "left": self.left,
            "largest_importance": self.concepts[0].importance,
        }

    def _parts(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        names = ("method", "reading", "head", "target", "layer", "crops", "left")
        about = {name: getattr(self, name) for name in names}
        about["concepts"] = [
            {"importance": one.importance, "interval": one.interval, "examples": one.examples, "shown": one.shown}
            for one in self.concepts
        ]
        maps = {f"maps.{number}": one.maps for number, one in enumerate(self.concepts)}
        return {"bank": self.bank, **maps}, about

    @classmethod
    def _of(cls, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> "Concepts":
        found = tuple(_concept(one, tensors[f"maps.{number}"]) for number, one in enumerate(about["concepts"]))
        if not found or len(found) != len(tensors["bank"]):
            raise ValueError("the directions do not fit the concepts")
        method, reading, head, target, layer = (
            str(about[name]) for name in ("method", "reading", "head", "target", "layer")
        )
        return cls(
            method, reading, head, target, layer, int(about["crops"]), float(about["left"]), found, tensors["bank"]
        )


def _concept(stored: Mapping[str, Any], maps: Tensor) -> FoundConcept:
    low, high = (float(one) for one in stored["interval"])
    examples = tuple(
        (str(name), int(top), int(left), int(side), float(code)) for name, top, left, side, code in stored["examples"]
    )
    if not examples:
        raise ValueError("a concept has no crop")
    return FoundConcept(float(stored["importance"]), (low, high), examples, tuple(map(str, stored["shown"])), maps)
