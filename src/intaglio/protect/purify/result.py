"""The result of cleaning pictures: what each lost; stored and read again.

`purified.json` in the run's folder:

    {"method", "words", "folder", "pictures": [{"name", "saved", "largest_difference", "psnr", "ssim"}, ...]}
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from intaglio.files import atomic_write
from intaglio.runs.plain_json import to_json
from intaglio.runs.read import load_result
from intaglio.runs.result_table import ResultTable
from intaglio.runs.tables import rows_csv, without_nan

FILE = "purified.json"
COLUMNS = ["name", "saved", "largest_difference", "psnr", "ssim"]


@dataclass(frozen=True)
class PurifiedPicture:
    """One picture, cleaned."""

    name: str
    """Path of the original below its folder."""
    saved: str
    """Path below the folder it was written into."""
    largest_difference: int
    """Largest change of a number of the file, grey levels."""
    psnr: float | None
    """Peak signal-to-noise ratio to the original, dB; None where nothing changed."""
    ssim: float
    """Structural similarity to the original."""


@dataclass(frozen=True)
class PurifiedPictures(ResultTable):
    """Pictures cleaned by one method."""

    method: str
    words: str
    """The treatment, as the end of a sentence that begins "They are"."""
    folder: Path
    """Folder of the cleaned pictures."""
    pictures: tuple[PurifiedPicture, ...]

    @property
    def heading(self) -> str:
        """The result in a few words."""
        return f"Pictures {self.words}"

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return COLUMNS

    @property
    def statement(self) -> str:
        """The outcome in one sentence."""
        figures, count = self.figures(), len(self.pictures)
        changed = "nothing changed" if figures["psnr"] is None else f"on average {figures['psnr']:.1f} dB from theirs"
        return f"{count} {'picture is' if count == 1 else 'pictures are'} {self.words}; {changed}."

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a picture; the keys are `COLUMNS`."""
        return [asdict(one) for one in self.pictures]

    def figures(self) -> dict[str, Any]:
        """Means over the pictures, that of the PSNR over those that changed."""
        ratios, count = [one.psnr for one in self.pictures if one.psnr is not None], len(self.pictures)
        return {
            "pictures": count,
            "psnr": sum(ratios) / len(ratios) if ratios else None,
            "ssim": sum(one.ssim for one in self.pictures) / count,
            "largest_difference": max(one.largest_difference for one in self.pictures),
            "folder": str(self.folder),
        }

    def _thumbnails(self) -> "list[tuple[str, Any]]":
        return [(one.saved, file) for one in self.pictures if (file := self.folder / one.saved).is_file()]

    def save(self, folder: Path) -> None:
        """Writes `purified.csv` and `purified.json`, each atomically."""
        atomic_write(folder / "purified.csv", rows_csv(self.rows(), COLUMNS))
        atomic_write(folder / FILE, to_json(without_nan({**asdict(self), "folder": str(self.folder)}), indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "PurifiedPictures | None":
        """The result stored in a run's folder; None where there is none. Raises `BadInput` for a damaged file."""
        return load_result(Path(folder) / FILE, cls.from_dict, "cleaning")

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "PurifiedPictures":
        """The result in the content of `purified.json`."""
        pictures = tuple(
            PurifiedPicture(
                str(one["name"]),
                str(one["saved"]),
                int(one["largest_difference"]),
                None if one["psnr"] is None else float(one["psnr"]),
                float(one["ssim"]),
            )
            for one in stored["pictures"]
        )
        return cls(str(stored["method"]), str(stored["words"]), Path(stored["folder"]), pictures)
