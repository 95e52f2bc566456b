"""The result of a certification: a class and a radius for each picture, or no verdict; stored and read again.

`certified.json` in the run's folder:

    {"method", "head", "classes", "sigma", "votes", "alpha",
     "pictures": [{"name", "label", "most", "count", "radius"}, ...]}
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import floor
from pathlib import Path
from typing import Any

from intaglio.files import atomic_write
from intaglio.runs.plain_json import to_json
from intaglio.runs.read import load_result
from intaglio.runs.result_table import ResultTable
from intaglio.runs.tables import rows_csv

FILE = "certified.json"
COLUMNS = ["picture", "class", "radius", "most_voted", "share"]
ABSTAINED = -1
"""In place of a class: the votes prove none."""


@dataclass(frozen=True)
class CertifiedPicture:
    """One picture."""

    name: str
    label: int
    """Place of its class, or `ABSTAINED`."""
    most: int
    """Place of the class that most copies of the first draw were called."""
    count: int
    """Votes of the second draw for it."""
    radius: float | None
    """Euclidean length, over all numbers of the picture in [0, 1], below which no change changes the class; None
    without a verdict."""


@dataclass(frozen=True)
class CertifiedPictures(ResultTable):
    """Pictures with their certificates by one method."""

    method: str
    head: str
    classes: tuple[str, ...]
    """Names of the classes, in the order of the labels."""
    sigma: float
    votes: int
    """Copies of the second draw."""
    alpha: float
    pictures: tuple[CertifiedPicture, ...]

    @property
    def heading(self) -> str:
        """The result in a few words."""
        return f"Certified by {self.method}"

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return COLUMNS

    @property
    def statement(self) -> str:
        """The outcome in a sentence."""
        count, figures = len(self.pictures), self.figures()
        if not figures["certified"]:
            return f"No class of {count} {_pictures(count)} is proven at noise of {self.sigma:g}."
        radius = rounded_down(figures["median_radius"], 2)
        return (
            f"{figures['certified']} of {count} {_pictures(count)} have a proven class, half of them within a radius "
            f"of {radius} or more (numbers in [0, 1]); each proof errs with a chance of {self.alpha:g} at most."
        )

    def accuracy(self, truth: Sequence[int], radius: float) -> float:
        """Share of pictures whose class is the true one, and proven beyond a radius: the certified accuracy.

        `truth` has the place of each picture's class. Raises `ValueError` for another number of them.
        """
        right = [
            one.label == true and one.radius is not None and one.radius > radius
            for one, true in zip(self.pictures, truth, strict=True)
        ]
        return sum(right) / len(right)

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a picture; the keys are `COLUMNS`."""
        return [
            {
                "picture": one.name,
                "class": "" if one.label == ABSTAINED else self.classes[one.label],
                "radius": one.radius,
                "most_voted": self.classes[one.most],
                "share": one.count / self.votes,
            }
            for one in self.pictures
        ]

    def figures(self) -> dict[str, Any]:
        """Counts, and of those with a verdict the radius that half of them have or exceed, and the largest."""
        radii = sorted(one.radius for one in self.pictures if one.radius is not None)
        middle = len(radii) // 2
        median = radii[-middle - 1] if radii else None  # the lower one of two: half have it or more
        return {
            "pictures": len(self.pictures),
            "certified": len(radii),
            "abstained": len(self.pictures) - len(radii),
            "median_radius": median,
            "largest_radius": radii[-1] if radii else None,
        }

    def save(self, folder: Path) -> None:
        """Writes `certified.csv` and `certified.json`, each atomically."""
        atomic_write(folder / "certified.csv", rows_csv(self.rows(), COLUMNS))
        atomic_write(folder / FILE, to_json(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "CertifiedPictures | None":
        """The result stored in a run's folder; None where there is none. Raises `BadInput` for a damaged file."""
        return load_result(Path(folder) / FILE, cls.from_dict, "certification")

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "CertifiedPictures":
        """The inverse of `asdict`. Raises `ValueError` for a label without a class."""
        classes = tuple(str(one) for one in stored["classes"])
        pictures = tuple(
            CertifiedPicture(
                str(one["name"]),
                int(one["label"]),
                int(one["most"]),
                int(one["count"]),
                None if one["radius"] is None else float(one["radius"]),
            )
            for one in stored["pictures"]
        )
        if not all(ABSTAINED <= one.label < len(classes) and 0 <= one.most < len(classes) for one in pictures):
            raise ValueError("a picture has a class that there is not")
        sigma, votes, alpha = float(stored["sigma"]), int(stored["votes"]), float(stored["alpha"])
        return cls(str(stored["method"]), str(stored["head"]), classes, sigma, votes, alpha, pictures)


def rounded_down(radius: float, digits: int) -> str:
    """A length that is still proven, in so many decimal places."""
    return f"{floor(radius * 10**digits) / 10**digits:.{digits}f}"


def _pictures(count: int) -> str:
    return "picture" if count == 1 else "pictures"
