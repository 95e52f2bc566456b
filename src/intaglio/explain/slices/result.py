"""Slices of pictures on which a classifier errs, each tested on pictures that did not find it; stored and read again.

`slices.json` in the run's folder has all of it, `slices.csv` a line a slice, `weights.csv` a line a picture to learn
from.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from intaglio.files import atomic_write
from intaglio.runs.json_table import JsonTable
from intaglio.runs.tables import rows_csv

COLUMNS = [
    "slice", "told", "inside", "error_inside", "outside", "error_outside", "p", "q", "passes", "truth", "called",
    "pictures",
]  # fmt: skip
WEIGHTS = "weights.csv"
FEW = 10
"""Wrong answers below which the result warns."""


@dataclass(frozen=True, kw_only=True)
class FoundGroup:
    """One slice."""

    told: str
    """In words."""
    inside: int
    """Tested pictures in it, by their look."""
    errors_inside: int
    errors_outside: int
    outside: int
    """Tested pictures that are not."""
    p: float
    """That the classifier errs no more inside, by Fisher's exact test, one-sided."""
    q: float
    """Adjusted by Benjamini and Hochberg over all slices."""
    passes: bool
    """Whether q is at most the rate."""
    pictures: tuple[str, ...]
    """Names of those that are most of the slice, of all pictures, the first the most."""
    truth: tuple[str, ...]
    """Their true classes."""
    called: tuple[str, ...]
    """Their called ones."""

    @property
    def error_inside(self) -> float | None:
        """Share of wrong answers; None for an empty slice."""
        return self.errors_inside / self.inside if self.inside else None

    @property
    def error_outside(self) -> float | None:
        """Share of wrong answers among the others."""
        return self.errors_outside / self.outside if self.outside else None


@dataclass(frozen=True)
class WeighedPicture:
    """A picture that the classifier is to learn from again."""

    name: str
    slice: int | None
    """Number of the slice that it is in, of those that hold; None where it is in none."""
    weight: float
    """Number in proportion to which it is to be drawn, 1 on average."""


@dataclass(frozen=True, kw_only=True)
class ErrorSlices(JsonTable):
    """Slices of one classifier by one method."""

    file: ClassVar[str] = "slices.json"
    table: ClassVar[str] = "slices.csv"

    method: str
    reading: str
    head: str
    pictures: int
    tested: int
    """Pictures that did not find the slices."""
    wrong: int
    """Of all pictures."""
    masked: bool
    rate: float
    """False-discovery rate."""
    groups: tuple[FoundGroup, ...]
    weighed: tuple[WeighedPicture, ...] = ()
    """Pictures to learn from, where there were any."""

    @property
    def heading(self) -> str:
        """The result in a few words."""
        return f"Slices by {self.method}"

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return COLUMNS

    @property
    def statement(self) -> str:
        """The outcome in a sentence."""
        passed = [one for one in self.groups if one.passes]
        told = f"the classifier errs on {self.wrong} of {self.pictures} pictures"
        if not passed:
            return f"No slice of {len(self.groups)} has more errors among pictures that did not find it; {told}."
        first = passed[0]
        inside, outside = first.error_inside or 0.0, first.error_outside or 0.0
        return (
            f"{len(passed)} of {len(self.groups)} slices hold on pictures that did not find them: in the first, "
            f"{first.told}, {inside:.0%} are mistaken, outside {outside:.0%}; {told}."
        )

    @property
    def warnings(self) -> list[str]:
        """Sentences on what the result cannot be trusted for."""
        found = []
        if self.wrong < FEW:
            found.append(f"{self.wrong} wrong answers are few to find slices by; give more pictures")
        if not any(one.passes for one in self.groups):
            found.append(
                "no slice holds on the pictures that did not find it; that is no proof that the classifier errs alike "
                "on all"
            )
        if self.weighed and not self.weighed_inside:
            found.append("no picture to learn from is in a slice that holds, so that all weigh alike")
        return found

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a slice; the keys are `COLUMNS`."""
        return [
            {
                "slice": number,
                "told": one.told,
                "inside": one.inside,
                "error_inside": one.error_inside,
                "outside": one.outside,
                "error_outside": one.error_outside,
                "p": one.p,
                "q": one.q,
                "passes": one.passes,
                "truth": _commonest(one.truth),
                "called": _commonest(one.called),
                "pictures": "; ".join(one.pictures),
            }
            for number, one in enumerate(self.groups)
        ]

    def figures(self) -> dict[str, Any]:
        """Counts."""
        return {
            "pictures": self.pictures,
            "tested": self.tested,
            "wrong": self.wrong,
            "slices": len(self.groups),
            "passed": sum(one.passes for one in self.groups),
            "masked": self.masked,
            **({"weighed": len(self.weighed), "weighed_in_slices": self.weighed_inside} if self.weighed else {}),
        }

    @property
    def weighing(self) -> str:
        """Shares and weights of the pictures to learn from, in a sentence."""
        most = max(one.weight for one in self.weighed)
        return (
            f"{self.weighed_inside} of {len(self.weighed)} pictures to learn from are in a slice that holds; weights "
            f"are at most {most:.3g}, on average 1."
        )

    @property
    def weighed_inside(self) -> int:
        """Pictures to learn from that are in a slice."""
        return sum(one.slice is not None for one in self.weighed)

    def save(self, folder: Path) -> None:
        """Writes `weights.csv` too, where pictures were weighed."""
        if self.weighed:
            rows = [{"picture": one.name, "slice": one.slice, "weight": one.weight} for one in self.weighed]
            atomic_write(folder / WEIGHTS, rows_csv(rows, ["picture", "slice", "weight"]))
        super().save(folder)

    @classmethod
    def _of(cls, stored: Mapping[str, Any]) -> "ErrorSlices":
        groups = tuple(_group(one) for one in stored["groups"])
        return cls(
            method=str(stored["method"]), reading=str(stored["reading"]), head=str(stored["head"]),
            pictures=int(stored["pictures"]), tested=int(stored["tested"]), wrong=int(stored["wrong"]),
            masked=bool(stored["masked"]), rate=float(stored["rate"]), groups=groups,
            weighed=tuple(_weighed(one) for one in stored.get("weighed", ())),
        )  # fmt: skip


def _group(stored: Mapping[str, Any]) -> FoundGroup:
    pictures, truth, called = (tuple(map(str, stored[name])) for name in ("pictures", "truth", "called"))
    if not len(pictures) == len(truth) == len(called):
        raise ValueError("the pictures of a slice do not fit their classes")
    return FoundGroup(
        told=str(stored["told"]), inside=int(stored["inside"]), errors_inside=int(stored["errors_inside"]),
        errors_outside=int(stored["errors_outside"]), outside=int(stored["outside"]), p=float(stored["p"]),
        q=float(stored["q"]), passes=bool(stored["passes"]), pictures=pictures, truth=truth, called=called,
    )  # fmt: skip


def _weighed(stored: Mapping[str, Any]) -> WeighedPicture:
    number = stored["slice"]
    return WeighedPicture(str(stored["name"]), None if number is None else int(number), float(stored["weight"]))


def _commonest(texts: tuple[str, ...]) -> str:
    return Counter(texts).most_common(1)[0][0] if texts else ""
