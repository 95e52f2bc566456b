"""The result of a search for blind spots: energies of concepts in real and generated pictures; stored and read again.

`blindspots.safetensors` in the run's folder has the codes of each picture, and in its metadata a note of the rest;
`blindspots.csv` has a line a concept.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from intaglio.runs.stored_table import StoredTable

FILE, TABLE = "blindspots.safetensors", "blindspots.csv"
FEW = 30
"""Pairs below which the result warns."""
MUCH_LEFT, MANY_DEAD, MOST_SHIFTED = 0.5, 0.5, 0.5
"""Shares of unexplained variance, of dead codes and of named concepts above which the result warns."""
Verdict = Literal["suppressed", "exaggerated", "autoencoder", ""]
"""autoencoder: the energies differ, and no more than they do after the model's autoencoder alone."""


@dataclass(frozen=True, kw_only=True)
class ConceptShift:
    """One concept in real and in generated pictures."""

    number: int
    """Place among the method's codes."""
    verdict: Verdict
    delta: float
    """In [0, 1]; 1/2 where both have it alike, less where the generated pictures have less."""
    log_ratio: float
    """Natural logarithm of the generated energy over the real one."""
    interval: tuple[float, float]
    """Of the log ratio, 95%, by resampling pairs."""
    p: float
    """Of the test by swaps within pairs, two-sided."""
    q: float
    """Adjusted by Benjamini and Hochberg over all concepts."""
    control: float | None
    """Log ratio of the energy after the model's autoencoder over the real one; None where it was not asked."""
    real: float
    """Energy in real pictures."""
    generated: float
    """Energy in generated pictures."""
    label: str | None
    """Label that the real pictures with most of it have more often than others."""
    purity: float | None
    """The share by which they do."""
    most_real: tuple[str, ...]
    """Names of the pairs whose real picture has most of it."""
    most_generated: tuple[str, ...]
    """Names of the pairs whose generated picture has most of it."""


COLUMNS = [one.name for one in fields(ConceptShift)]


@dataclass(frozen=True, eq=False, kw_only=True)
class BlindSpots(StoredTable):
    """Concepts of pairs of pictures by one method, the most suppressed first."""

    file: ClassVar[str] = FILE
    table: ClassVar[str] = TABLE
    remedy: ClassVar[str] = "the same command finds the concepts again"

    method: str
    reading: str
    layer: str
    rule: str
    rate: float
    """False-discovery rate."""
    ratio: float
    """Ratio of energies from which on a concept is named."""
    pairs: int
    dead: int
    """Codes that are 0 in all real and generated pictures, which are left out."""
    left: float | None
    """Share of the features' variance that the codes leave unexplained; None where nothing is rebuilt."""
    smallest_p: float
    """The smallest p-value that the test could give."""
    shifts: tuple[ConceptShift, ...]
    copied: tuple[tuple[str, float, int], ...]
    """Pairs with the nearest codes: name, distance, rank of the own real picture."""
    sums: Mapping[str, Float[Tensor, "n k"]]
    """Codes of each picture, summed over places, by part: real, generated, decoded."""

    def found(self, verdict: Verdict) -> list[ConceptShift]:
        """The concepts of a verdict, those of the largest ratio first."""
        return sorted((one for one in self.shifts if one.verdict == verdict), key=lambda one: -abs(one.log_ratio))

    @property
    def heading(self) -> str:
        """The result in a few words."""
        return f"Blind spots by {self.method}"

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return COLUMNS

    @property
    def statement(self) -> str:
        """The outcome in a sentence."""
        few, many = len(self.found("suppressed")), len(self.found("exaggerated"))
        end = "" if "decoded" in self.sums else ", of which the autoencoder's part is not known"
        return (
            f"Of {len(self.shifts)} concepts {few} are suppressed and {many} are exaggerated in {self.pairs} generated "
            f"pictures, at a false-discovery rate of {self.rate:g}{end}."
        )

    @property
    def warnings(self) -> list[str]:
        """Sentences on what the result cannot be trusted for."""
        found = []
        named = len(self.found("suppressed")) + len(self.found("exaggerated"))
        if self.pairs < FEW:
            found.append(f"{self.pairs} pairs of pictures are few; give {FEW} or more, better some hundred")
        if self.shifts and self.smallest_p * len(self.shifts) > self.rate:
            found.append(
                f"no single concept of {len(self.shifts)} can reach the rate of {self.rate:g} with so few pairs or "
                "swaps; give more pictures, a larger --flips, or fewer concepts"
            )
        if not named:
            found.append(
                "no concept is found to differ; that is no proof that all are drawn as often as they should be, only "
                "that these pictures and these concepts do not show it"
            )
        if self.shifts and named > MOST_SHIFTED * len(self.shifts):
            found.append(
                f"{named} of {len(self.shifts)} concepts differ: the generated pictures are of another kind as a "
                "whole, so that no single concept explains it; look at the pictures first"
            )
        if "decoded" not in self.sums:
            found.append(
                "the pictures' autoencoder is not known, whose blur alone exaggerates concepts; give the model with "
                "--model for the control"
            )
        if self.left is not None and self.left > MUCH_LEFT:
            found.append(
                f"the concepts leave {self.left:.0%} of the features' variance unexplained, in which further blind "
                "spots may lie; give more --concepts, --active or --updates"
            )
        if self.dead > MANY_DEAD * (self.dead + len(self.shifts)):
            found.append(f"{self.dead} of {self.dead + len(self.shifts)} codes are 0 everywhere; give fewer --concepts")
        return found

    @cached_property
    def together(self) -> dict[str, Float[ndarray, "k k"]]:
        """Co-occurrence of the concepts in `shifts`, in their order, by part: cosines of their codes over pictures."""
        chosen = [one.number for one in self.shifts]
        found = {}
        for part in ("real", "generated"):
            codes = self.sums[part].double().numpy()[:, chosen]
            units = codes / np.maximum(np.linalg.norm(codes, axis=0), 1e-12)
            found[part] = units.T @ units
        return found

    def partner(self, place: int) -> tuple[int, float, float] | None:
        """The concept that most often comes with one of `shifts` in real pictures: number, cosine there and in the
        generated ones. None for a single concept.
        """
        if len(self.shifts) < 2:
            return None
        row = self.together["real"][place].copy()
        row[place] = -math.inf
        best = int(row.argmax())
        return self.shifts[best].number, float(row[best]), float(self.together["generated"][place, best])

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a concept; the keys are `COLUMNS`."""
        found = []
        for one in self.shifts:
            row = asdict(one)
            row["interval"] = "{:.4f} to {:.4f}".format(*one.interval)
            row |= {name: "; ".join(row[name]) for name in ("most_real", "most_generated")}
            found.append(row)
        return found

    def figures(self) -> dict[str, Any]:
        """Counts, and the share of variance left."""
        return {
            "pairs": self.pairs,
            "concepts": len(self.shifts),
            "dead": self.dead,
            "left": self.left,
            "suppressed": len(self.found("suppressed")),
            "exaggerated": len(self.found("exaggerated")),
            "by_autoencoder": len(self.found("autoencoder")),
        }

    def _parts(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        about = {one.name: getattr(self, one.name) for one in fields(self) if one.name not in ("shifts", "sums")}
        about["shifts"] = [asdict(one) for one in self.shifts]
        return dict(self.sums), about

    @classmethod
    def _of(cls, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> "BlindSpots":
        known = {one.name: about[one.name] for one in fields(cls) if one.name not in ("shifts", "sums")}
        known["copied"] = tuple((str(name), float(apart), int(rank)) for name, apart, rank in about["copied"])
        shifts = tuple(_shift(one) for one in about["shifts"])
        sums = {name: tensors[name] for name in ("real", "generated", "decoded") if name in tensors}
        if any(one.number >= sums[part].shape[1] for part in ("real", "generated") for one in shifts):
            raise ValueError("the codes do not fit the concepts")
        return cls(**{**known, "shifts": shifts, "sums": sums})


def _shift(stored: Mapping[str, Any]) -> ConceptShift:
    low, high = (float(one) for one in stored["interval"])
    names = {name: tuple(map(str, stored[name])) for name in ("most_real", "most_generated")}
    if stored["verdict"] not in ("suppressed", "exaggerated", "autoencoder", ""):
        raise ValueError(f"a concept is {stored['verdict']}")
    return ConceptShift(**{**stored, "interval": (low, high), **names})
