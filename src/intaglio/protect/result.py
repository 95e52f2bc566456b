"""The result of a protection: every picture with what was changed and gained; stored and read again.

`protection.json` in the run's folder:

    {"method", "objective", "budget", "surrogate", "folder", "pictures": [picture, ...], "transformations"}

    picture = {"name", "saved", "notes": [words], "largest_difference", "psnr", "ssim", "objective_before",
               "objective_after", "images": {kind: path relative to the folder}}
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from intaglio.files import atomic_write
from intaglio.runs.plain_json import to_json
from intaglio.runs.read import load_result
from intaglio.runs.result_table import ResultTable
from intaglio.runs.tables import rows_csv, without_nan

FILE = "protection.json"
SHOWN = ("original", "protected", "difference")
"""Kinds of pictures that a report shows; the difference is magnified around grey."""
COLUMNS = ["name", "saved", "largest_difference", "psnr", "ssim", "objective_before", "objective_after"]


@dataclass(frozen=True)
class ProtectedPicture:
    """One picture, given back."""

    name: str
    """Path of the original below its folder."""
    saved: str
    """Path below the folder it is given back in."""
    notes: tuple[str, ...]
    """Further changes that giving it back brought, in words."""
    largest_difference: int
    """Largest change of a number of the saved file, grey levels."""
    psnr: float
    """Peak signal-to-noise ratio to the original, dB; NaN where nothing changed."""
    ssim: float
    """Structural similarity to the original."""
    objective_before: float
    objective_after: float
    """The method's objective on fixed views, timesteps and noise."""
    images: Mapping[str, str] = field(default_factory=dict)
    """Small pictures for a report, by kind (`SHOWN`), as far as they were kept: paths relative to the run's folder."""


@dataclass(frozen=True)
class ProtectionResult(ResultTable):
    """Pictures given back protected."""

    method: str
    objective: str
    """Name of what was raised."""
    budget: float
    """Grey levels."""
    surrogate: str
    """Name of the model."""
    folder: Path
    """Folder of the pictures."""
    pictures: tuple[ProtectedPicture, ...]
    transformations: tuple[str, ...] = ()
    """What the change was trained to survive, by names of `protect.transformations`."""

    @property
    def heading(self) -> str:
        """The result in a few words."""
        return f"Protection by {self.method}"

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return COLUMNS

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a picture; the keys are `COLUMNS`."""
        return [{column: getattr(one, column) for column in COLUMNS} for one in self.pictures]

    def figures(self) -> dict[str, Any]:
        """Means over the pictures, that of the PSNR over those that changed, and the largest change of all."""
        count = len(self.pictures)
        ratios = [one.psnr for one in self.pictures if one.largest_difference] or [math.nan]
        return {
            "pictures": count,
            "budget": self.budget,
            "largest_difference": max(one.largest_difference for one in self.pictures),
            "psnr": sum(ratios) / len(ratios),
            "ssim": sum(one.ssim for one in self.pictures) / count,
            "gain": sum(one.objective_after - one.objective_before for one in self.pictures) / count,
            "folder": str(self.folder),
        }

    def _thumbnails(self) -> "list[tuple[str, Any]]":
        return [(one.saved, file) for one in self.pictures if (file := self.folder / one.saved).is_file()]

    def save(self, folder: Path) -> None:
        """Writes `pictures.csv` and `protection.json`, each atomically."""
        atomic_write(folder / "pictures.csv", rows_csv(self.rows(), COLUMNS))
        stored = {**asdict(self), "folder": str(self.folder)}
        atomic_write(folder / FILE, to_json(without_nan(stored), indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "ProtectionResult | None":
        """The result stored in a run's folder; None where there is none (another verb, or not finished).

        Raises `BadInput` for a file that is damaged, or that lacks what this version needs.
        """
        return load_result(Path(folder) / FILE, cls.from_dict, "protection")

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "ProtectionResult":
        """The result in the content of `protection.json`."""
        pictures = tuple(_picture(one) for one in stored["pictures"])
        plain = {key: str(stored[key]) for key in ("method", "objective", "surrogate")}
        return cls(
            **plain,
            budget=float(stored["budget"]),
            folder=Path(stored["folder"]),
            pictures=pictures,
            transformations=tuple(map(str, stored.get("transformations", ()))),
        )


def _picture(stored: Mapping[str, Any]) -> ProtectedPicture:
    numbers = {key: float("nan") if stored[key] is None else float(stored[key]) for key in COLUMNS[2:]}
    return ProtectedPicture(
        name=str(stored["name"]),
        saved=str(stored["saved"]),
        notes=tuple(map(str, stored["notes"])),
        images={str(kind): str(path) for kind, path in (stored.get("images") or {}).items()},
        **{**numbers, "largest_difference": int(numbers["largest_difference"])},
    )
