"""The result of a check of drawings: the chosen pictures with their distances; stored and read again.

`checked_drawings.json` in the run's folder:

    {"method", "reading", "tolerance", "pictures", "drawings": [{"name", "hash", "distance"}, ...]}
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from intaglio.audit.inference.drawings.fake_odds import miss_chance, most_fakes
from intaglio.files import atomic_write
from intaglio.runs.plain_json import to_json
from intaglio.runs.read import load_result
from intaglio.runs.result_table import ResultTable
from intaglio.runs.tables import rows_csv

FILE = "checked_drawings.json"
COLUMNS = ["picture", "same", "distance"]
LEVEL = 0.95
"""Confidence of the largest number of fakes."""
SHARES = (0.01, 0.05, 0.1, 0.25, 0.5)
"""Shares of fakes for which the chance to miss all of them is told."""


@dataclass(frozen=True)
class CheckedDrawing:
    """One picture that was drawn again."""

    name: str
    hash: str
    distance: float
    """From the picture drawn again, grey levels of 255."""


@dataclass(frozen=True)
class CheckedDrawings(ResultTable):
    """Pictures chosen of all that came, each drawn again."""

    method: str
    reading: str
    """The distance in words, as the end of a sentence."""
    tolerance: float
    """Distance above which a picture is a fake, grey levels of 255."""
    pictures: int
    """All that came."""
    drawings: tuple[CheckedDrawing, ...]

    @property
    def heading(self) -> str:
        """The result in a few words."""
        return f"Drawings checked by {self.method}"

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return COLUMNS

    @property
    def fakes(self) -> list[CheckedDrawing]:
        """The drawn pictures that are not what is drawn now."""
        return [one for one in self.drawings if one.distance > self.tolerance]

    @property
    def most_fakes(self) -> int:
        """Fakes among all pictures, at most, with a confidence of 95%."""
        return most_fakes(self.pictures, len(self.fakes), len(self.drawings), LEVEL)

    def misses(self) -> list[tuple[int, float]]:
        """Numbers of fakes among all pictures, each with the chance that none of them would have been met."""
        numbers = sorted({max(1, round(share * self.pictures)) for share in SHARES})
        return [(fakes, miss_chance(self.pictures, fakes, len(self.drawings))) for fakes in numbers]

    @property
    def statement(self) -> str:
        """The outcome in two sentences."""
        fakes, checked = len(self.fakes), len(self.drawings)
        said = f"Of {self.pictures} {'picture' if self.pictures == 1 else 'pictures'} {checked} "
        said += f"{'was' if checked == 1 else 'were'} drawn again; "
        if fakes:
            said += f"{fakes} of them {'is' if fakes == 1 else 'are'} another picture than the one drawn now. "
        else:
            said += f"{'it is' if checked == 1 else 'all of them are'} what the model draws now. "
        if checked == self.pictures:
            return said + "All were checked."
        return said + (
            f"With {LEVEL:.0%} confidence at most {self.most_fakes} of all are, if the lot could not be foreseen."
        )

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a picture that was drawn again; the keys are `COLUMNS`."""
        return [
            {"picture": one.name, "same": one.distance <= self.tolerance, "distance": one.distance}
            for one in self.drawings
        ]

    def figures(self) -> dict[str, Any]:
        """Counts, and the largest number of fakes."""
        return {
            "statement": self.statement,
            "pictures": self.pictures,
            "checked": len(self.drawings),
            "fakes": len(self.fakes),
            "most_fakes": self.most_fakes,
        }

    def save(self, folder: Path) -> None:
        """Writes `checked_drawings.csv` and `checked_drawings.json`, each atomically."""
        atomic_write(Path(folder) / "checked_drawings.csv", rows_csv(self.rows(), COLUMNS))
        atomic_write(Path(folder) / FILE, to_json(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "CheckedDrawings | None":
        """The result stored in a run's folder; None where there is none. Raises `BadInput` for a damaged file."""
        return load_result(Path(folder) / FILE, cls.from_dict, "check")

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "CheckedDrawings":
        """The inverse of `asdict`. Raises `ValueError` for more drawings than pictures, or none."""
        drawings = tuple(
            CheckedDrawing(str(one["name"]), str(one["hash"]), float(one["distance"])) for one in stored["drawings"]
        )
        pictures = int(stored["pictures"])
        if not 1 <= len(drawings) <= pictures:
            raise ValueError(f"{len(drawings)} drawings of {pictures} pictures")
        return cls(str(stored["method"]), str(stored["reading"]), float(stored["tolerance"]), pictures, drawings)
