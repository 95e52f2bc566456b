"""What every extraction method is called with and gives back."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from intaglio.files import atomic_write
from intaglio.images.image_set import ImageSet, save_png
from intaglio.metrics.similarity.measures import Embedding
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.run import Run
from intaglio.runs.tables import rows_csv, without_nan
from intaglio.sampling.guide import Guide
from intaglio.verbs import FileName


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
    apart: float
    """Similarity with the nearest other returned picture; NaN where there is none."""
    gap: float
    """The base's denoising error less the suspect's; see `intaglio.denoising.loss_difference`."""
    score: float
    """What the finds are ranked by: the group's size, and among equals how alike its members are."""


@dataclass(frozen=True, eq=False)
class Extraction:
    """What one method takes for the pictures that the suspect was tuned on."""

    method: str
    """Name in the table of methods, such as `finextract`."""
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
    """Of every group, returned or not, lone pictures among them."""
    descriptors: Float[Tensor, "m d"]
    """Of every picture that was compared, of unit length, in the order of the seeds."""
    exact: bool
    """Whether all groups are the largest cliques; see `intaglio.extract.cliques`."""
    captioned: bool
    """Whether a prompt was known."""
    warnings: tuple[str, ...] = ()

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
                "apart": find.apart,
                "gap": find.gap,
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
            "captioned": self.captioned,
        }

    def to_frame(self) -> Any:
        """A pandas DataFrame of `rows`, indexed by name."""
        import pandas as pd  # only who asks for a frame waits for it

        return pd.DataFrame(self.rows(), columns=COLUMNS).set_index("name")

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


@runtime_checkable
class Extractor(Protocol):
    """A way of drawing what a suspect was tuned on: `Drawing`'s settings and its own, a guide, one call."""

    name = FileName()

    def guide(self, base: LatentDiffusion, *, captioned: bool) -> Guide:
        """What leads the sampler."""
        ...

    def __call__(
        self,
        suspect: LatentDiffusion,
        base: LatentDiffusion,
        *,
        prompts: Sequence[str],
        similarity: Embedding,
        run: Run,
        workers: int,
    ) -> Extraction:
        """Draw, group and rank; both models are left as they were found.

        Args:
            suspect: the fine-tuned model.
            base: the model that it was fine-tuned from.
            prompts: what the fine-tune is thought to have used, each for an equal share; none where nobody knows.
            similarity: an encoder's; its descriptors are what is compared.
            run: progress, states and pictures go there.
            workers: processes on the CPU; the result does not depend on their number.

        Raises:
            BadInput: models that cannot be compared or are identical.
            IntaglioError: where fewer pictures than are sought could be compared.
        """
        ...
