"""The result of a search for concepts: directions with importances, examples and maps; stored and read again.

`concepts.safetensors` in the run's folder has the directions and the maps, and in its metadata a note of the rest;
`concepts.csv` has a line a concept, and one for each part of a concept that was divided.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor

from intaglio.explain.concepts.concept_parts import MOST
from intaglio.runs.stored_table import StoredTable

FILE, TABLE = "concepts.safetensors", "concepts.csv"
COLUMNS = ["concept", "part", "share", "spread", "importance", "low", "high", "largest_code", "crops"]
LETTERS = "abcdefghij"
"""Of the parts of a concept."""
FEW_CROPS = 5
"""Crops of a part, below which its pictures may share anything."""
Example = tuple[str, int, int, int, float]
"""Picture's name, top, left and side of the crop in pixels, and its code."""


@dataclass(frozen=True, eq=False)
class ConceptPart:
    """One of the things that a concept is of, by features of an earlier layer."""

    share: float
    """Of the crops with most of the concept: those with more of this part than of the others."""
    examples: tuple[Example, ...]
    """Those among them with its largest codes, the largest first."""
    shown: tuple[str, ...]
    """Names of the pictures that these come from, some of them."""
    maps: Float[Tensor, "s h w"]
    """Where its code comes from in each of them, 0 or more."""
    direction: Float[Tensor, "c"]
    """Of unit length, of the earlier layer's features."""


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
    spread: float | None = None
    """Share of the squares of the earlier layer's features of the crops with most of it that one direction leaves: near
    0 where they are of one thing; None without an earlier layer."""
    spread_left: float | None = None
    """The same that its parts leave; None without parts."""
    parts: tuple[ConceptPart, ...] = ()
    """What it is of, the largest share first; none where it is not divided."""


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
    earlier: str = ""
    """Layer of the parts; empty where no concept was to be divided."""

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
        """The outcome in a sentence or two."""
        first = self.concepts[0]
        low, high = first.interval
        told = (
            f"{len(self.concepts)} concepts of {self.crops:,} crops explain {1 - self.left:.0%} of their features; the "
            f"first has a total effect of {first.importance:.2f} ({low:.2f} to {high:.2f}) on {self.target}."
        )
        divided = [_sum(number, one.parts) for number, one in enumerate(self.concepts) if one.parts]
        return f"{told} By layer {self.earlier}, {'; '.join(divided)}." if divided else told

    @property
    def warnings(self) -> list[str]:
        """Sentences on what the result cannot be trusted for."""
        most = math.ceil(MOST * self.crops)
        few = [k for k, one in enumerate(self.concepts) if any(part.share * most < FEW_CROPS for part in one.parts)]
        if not few:
            return []
        of = f"concept {few[0]}" if len(few) == 1 else f"concepts {', '.join(map(str, few))}"
        return [
            f"parts of {of} are of fewer than {FEW_CROPS} crops, which say little of what they share; give more "
            "pictures, or fewer --parts"
        ]

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a concept, and one for each of its parts; the keys are `COLUMNS`."""
        found = list[dict[str, Any]]()
        for number, one in enumerate(self.concepts):
            low, high = one.interval
            own = {"importance": one.importance, "low": low, "high": high, "spread": one.spread}
            found.append({"concept": number, "part": None, "share": None, **own, **_crops(one.examples)})
            for letter, part in zip(LETTERS, one.parts, strict=False):
                none = dict.fromkeys(own)
                found.append({"concept": number, "part": letter, "share": part.share, **none, **_crops(part.examples)})
        return found

    def shown(self) -> list[tuple[str, FoundConcept | ConceptPart]]:
        """Every concept, each followed by its parts, with the beginning of its pictures' names."""
        found = list[tuple[str, FoundConcept | ConceptPart]]()
        for number, one in enumerate(self.concepts):
            found.append((f"{number:02d}", one))
            found += [(f"{number:02d}{letter}", part) for letter, part in zip(LETTERS, one.parts, strict=False)]
        return found

    def told(self, decimals: int) -> list[tuple[str, str, str, str]]:
        """A line a concept and part: its name, effect or share, interval, and first picture."""
        found = list[tuple[str, str, str, str]]()
        for number, one in enumerate(self.concepts):
            low, high = (f"{end:.{decimals}f}" for end in one.interval)
            found.append((str(number), f"{one.importance:.{decimals}f}", f"{low} to {high}", one.examples[0][0]))
            for letter, part in zip(LETTERS, one.parts, strict=False):
                found.append((f"{number}{letter}", f"{part.share:.0%} of {number}", "", part.examples[0][0]))
        return found

    def figures(self) -> dict[str, Any]:
        """Counts, the share of variance left, and the largest importance."""
        parted = [one for one in self.concepts if one.parts]
        return {
            "concepts": len(self.concepts),
            "crops": self.crops,
            "left": self.left,
            "largest_importance": self.concepts[0].importance,
            "divided": len(parted),
            "spread": _mean([one.spread for one in parted]),
            "spread_left": _mean([one.spread_left for one in parted]),
        }

    def _parts(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        names = ("method", "reading", "head", "target", "layer", "crops", "left", "earlier")
        about = {name: getattr(self, name) for name in names}
        tensors = {"bank": self.bank}
        about["concepts"] = list[dict[str, Any]]()
        for number, one in enumerate(self.concepts):
            plain = ("importance", "interval", "spread", "spread_left")
            stored = {name: getattr(one, name) for name in plain} | _shown(one)
            stored["parts"] = [{"share": part.share, **_shown(part)} for part in one.parts]
            about["concepts"].append(stored)
            tensors[f"maps.{number}"] = one.maps
            for place, part in enumerate(one.parts):
                tensors |= {f"maps.{number}.{place}": part.maps, f"part.{number}.{place}": part.direction}
        return tensors, about

    @classmethod
    def _of(cls, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> "Concepts":
        found = tuple(_concept(one, tensors, number) for number, one in enumerate(about["concepts"]))
        if not found or len(found) != len(tensors["bank"]):
            raise ValueError("the directions do not fit the concepts")
        method, reading, head, target, layer = (
            str(about[name]) for name in ("method", "reading", "head", "target", "layer")
        )
        return cls(
            method, reading, head, target, layer, int(about["crops"]), float(about["left"]), found, tensors["bank"],
            str(about["earlier"]),
        )  # fmt: skip


def _concept(stored: Mapping[str, Any], tensors: Mapping[str, Tensor], number: int) -> FoundConcept:
    low, high = (float(one) for one in stored["interval"])
    parts = tuple(
        ConceptPart(
            float(part["share"]), _examples(part), tuple(map(str, part["shown"])), tensors[f"maps.{number}.{place}"],
            tensors[f"part.{number}.{place}"],
        )
        for place, part in enumerate(stored["parts"])
    )  # fmt: skip
    spread, left = (None if stored[name] is None else float(stored[name]) for name in ("spread", "spread_left"))
    return FoundConcept(
        float(stored["importance"]), (low, high), _examples(stored), tuple(map(str, stored["shown"])),
        tensors[f"maps.{number}"], spread, left, parts,
    )  # fmt: skip


def _examples(stored: Mapping[str, Any]) -> tuple[Example, ...]:
    found = tuple(
        (str(name), int(top), int(left), int(side), float(code)) for name, top, left, side, code in stored["examples"]
    )
    if not found:
        raise ValueError("a concept has no crop")
    return found


def _shown(one: FoundConcept | ConceptPart) -> dict[str, Any]:
    return {"examples": one.examples, "shown": one.shown}


def _crops(examples: Sequence[Example]) -> dict[str, Any]:
    told = "; ".join(f"{name} {top},{left}" for name, top, left, _, _ in examples)
    return {"largest_code": examples[0][-1], "crops": told}


def _sum(number: int, parts: Sequence[ConceptPart]) -> str:
    """A concept as the sum of its parts, each by its first crop's picture."""
    told = " + ".join(
        f"{number}{letter} ({part.share:.0%}, most of it in {part.examples[0][0]})"
        for letter, part in zip(LETTERS, parts, strict=False)
    )
    return f"concept {number} = {told}"


def _mean(values: Sequence[float | None]) -> float | None:
    known = [one for one in values if one is not None]
    return sum(known) / len(known) if known else None
