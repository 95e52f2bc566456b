"""The result of an extraction: the returned pictures, each with the group that it stands for."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from intaglio.files import atomic_write
from intaglio.images.image_set import ImageSet, save_png
from intaglio.runs.result_table import ResultTable
from intaglio.runs.tables import rows_csv, without_nan


@dataclass(frozen=True)
class Find:
    """One returned picture and the group that it stands for."""

    seed: int
    prompt: str
    members: tuple[int, ...]
    """Seeds of its group, its own among them."""
    cohesion: float
    """Mean similarity of two members; NaN for a lone picture."""
    lowest: float
    """Least similarity of two members; NaN for a lone picture."""
    nearest_other: float
    """Similarity with the nearest other returned picture; NaN where there is none."""
    loss_difference: float
    """The base's denoising loss less the suspect's (`intaglio.denoising.loss_difference`)."""
    score: float
    """What the finds are ranked by: the group's size, and among equals how alike its members are."""


@dataclass(frozen=True, eq=False)
class Extraction(ResultTable):
    """The pictures that one method returns as those the suspect was most probably tuned on."""

    method: str
    """The method's name, such as `finextract`."""
    pictures: ImageSet
    """The finds in [0, 1], most certain first, with their prompts as captions."""
    finds: tuple[Find, ...]
    """In the same order."""
    drawn: int
    """Pictures drawn."""
    excluded: dict[str, int]
    """How many of those were left out of the groups, by reason."""
    threshold: float
    """Every two pictures of a group are at least this alike."""
    scores: Float[Tensor, "g"]
    """The score of every group, returned or not, lone pictures among them [groups]."""
    descriptors: Float[Tensor, "m d"]
    """The descriptor of every picture that was compared, of unit length, in the order of the seeds [pictures, d]."""
    exact: bool
    """Whether all groups are the largest cliques; see `intaglio.extract.cliques`."""
    prompted: bool
    """Whether a prompt was known."""
    warnings: tuple[str, ...] = ()

    @property
    def heading(self) -> str:
        """The result in a few words."""
        return f"Extraction by {self.method}"

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return COLUMNS

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a find."""
        return [
            {
                "name": name,
                "seed": find.seed,
                "prompt": find.prompt,
                "size": len(find.members),
                "cohesion": find.cohesion,
                "lowest": find.lowest,
                "apart": find.nearest_other,
                "gap": find.loss_difference,
                "score": find.score,
            }
            for name, find in zip(self.pictures.names, self.finds, strict=True)
        ]

    def figures(self) -> dict[str, Any]:
        """Counts and thresholds."""
        return {
            "method": self.method,
            "returned": len(self.finds),
            "drawn": self.drawn,
            "excluded": self.excluded,
            "threshold": self.threshold,
            "exact": self.exact,
            "captioned": self.prompted,
        }

    def _thumbnails(self) -> "list[tuple[str, Any]]":
        return list(zip(self.pictures.names, self.pictures.pixels, strict=True))

    def save(self, folder: Path) -> None:
        """Writes `finds.csv`, `extraction.json` and `pictures/<name>.png`, each atomically."""
        folder = Path(folder)
        for name, pixels, find in zip(self.pictures.names, self.pictures.pixels, self.finds, strict=True):
            save_png(pixels, folder / "pictures" / name, {"seed": str(find.seed), "prompt": find.prompt})
        atomic_write(folder / "finds.csv", rows_csv(self.rows(), COLUMNS))
        members = [list(find.members) for find in self.finds]
        record = {**self.figures(), "finds": self.rows(), "members": members, "warnings": list(self.warnings)}
        atomic_write(folder / "extraction.json", json.dumps(without_nan(record), indent=1) + "\n")


COLUMNS = ["name", "seed", "prompt", "size", "cohesion", "lowest", "apart", "gap", "score"]
