"""What every audit method is called with, gives back, and checks before any work."""

import json
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor

from intaglio.denoising.model_pair import check_pair, same_autoencoder
from intaglio.errors import BadInput
from intaglio.files import atomic_write
from intaglio.images.image_set import ImageSet, save_png
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.run import Run
from intaglio.runs.tables import rows_csv, without_nan
from intaglio.verbs import FileName


@dataclass(frozen=True, eq=False)
class Authentication:
    """One method's scores of pictures; only controls turn them into a verdict (`intaglio.audit.membership.verdict`)."""

    method: str
    """Name in the table of methods, such as `cgi-dm`."""
    names: tuple[str, ...]
    scores: Float[Tensor, "n"]
    """Higher always means "in the set"; NaN where the picture failed, see `warnings`."""
    signals: dict[str, Float[Tensor, "n"]] = field(default_factory=dict)
    """Further numbers a picture, in the same orientation."""
    pictures: dict[str, Float[Tensor, "n 3 h w"]] = field(default_factory=dict)
    """Evidence in [0, 1], such as `partial` and `recovered`."""
    diagnostics: dict[str, Any] = field(default_factory=dict)
    """Plain values for JSON; a list with one entry a picture is in the order of `names`."""
    warnings: tuple[str, ...] = ()

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a picture: name, score, and every signal."""
        return [
            {"name": name, "score": float(self.scores[i]), **{key: float(s[i]) for key, s in self.signals.items()}}
            for i, name in enumerate(self.names)
        ]

    def to_frame(self) -> Any:
        """A pandas DataFrame of `rows`, indexed by name."""
        import pandas as pd  # only who asks for a frame waits for it

        return pd.DataFrame(self.rows(), columns=["name", "score", *self.signals]).set_index("name")

    def save(self, folder: Path) -> None:
        """Writes `scores.csv`, `authentication.json` and `pictures/<kind>/<place>-<name>.png`, each atomically."""
        folder = Path(folder)
        atomic_write(folder / "scores.csv", rows_csv(self.rows(), ["name", "score", *self.signals]))
        for kind, pictures in self.pictures.items():
            for i, name in enumerate(self.names):
                save_png(pictures[i], folder / "pictures" / kind / f"{i:04d}-{file_stem(name)}.png", {"picture": name})
        record = {
            "method": self.method,
            "rows": self.rows(),
            "diagnostics": self.diagnostics,
            "warnings": list(self.warnings),
        }
        atomic_write(folder / "authentication.json", json.dumps(without_nan(record), indent=1) + "\n")


class Authenticator(ABC):
    """Scores pictures by how likely they were in the set that turned `base` into `suspect`.

    A method is a frozen dataclass of settings with this one call; it leaves both models as it found them. Methods
    with `uses_similarity` take a further keyword, `similarity`, an `intaglio.metrics.similarity.measures.Similarity`.
    """

    name = FileName()
    """Its name in the table of methods."""
    signals: ClassVar[tuple[str, ...]] = ()
    """The names of the signals it gives."""
    verdict_signals: ClassVar[tuple[str, ...]] = ("score",)
    """What a verdict rests on unless it is told otherwise: `score`, signals of the method, or other methods."""
    uses_similarity: ClassVar[bool] = False

    @abstractmethod
    def __call__(
        self, suspect: LatentDiffusion, base: LatentDiffusion, images: ImageSet, *, prompt: str, run: Run
    ) -> Authentication:
        """Scores every picture.

        Args:
            suspect: the fine-tuned model.
            base: the model it was fine-tuned from.
            images: pictures at the models' resolution.
            prompt: the prompt that the fine-tune is thought to have used; both models get the same words.
            run: progress, states and records go there.

        Raises:
            BadInput: models that cannot be compared or are identical, or pictures that do not fit them.
        """

    def forget(self, run: Run, pictures: int) -> None:  # noqa: B027 - a method without states forgets nothing
        """Drops the states that a call on so many pictures stored; to be called once its result is safe."""


def check_inputs(
    suspect: LatentDiffusion, base: LatentDiffusion, images: ImageSet, *, cells: int = 1
) -> tuple[str, ...]:
    """The checks that every method makes before any work; returns warnings.

    Raises `BadInput` for models that differ in anything but weights, for identical models, for an empty set of
    pictures, and for sides that are no multiple of the autoencoder's factor times `cells` latent cells.
    """
    check_pair(suspect, base)
    check_pictures(base, images, cells)
    if not same_autoencoder(suspect, base):
        return (
            f"{suspect.name} has an autoencoder of its own; the one of {base.name} was used for both models, so that "
            "they see the same latents",
        )
    return ()


def check_pictures(model: LatentDiffusion, images: ImageSet, cells: int) -> None:
    """Raises `BadInput` for no pictures, or for sides that the model's latents cannot divide."""
    if not len(images):
        raise BadInput("there are no pictures to score; name a folder with at least one")
    height, width = images.pixels.shape[-2:]
    step = model.factor * cells
    if height % step or width % step:
        raise BadInput(
            f"pictures of {width}x{height} pixels cannot be divided into squares of {cells} latents ({step} pixels); "
            f"use a resolution that is a multiple of {step}, or another size of squares"
        )


def check_timesteps(model: LatentDiffusion, *timesteps: int) -> None:
    """Raises `BadInput` for a timestep that the model's schedule does not have."""
    if (highest := max(timesteps)) >= model.schedule.count:
        raise BadInput(
            f"timestep {highest} is asked for, but {model.name} has timesteps 0 to {model.schedule.count - 1}; "
            "pass --timesteps within them"
        )


def file_stem(name: str) -> str:
    """A picture's name as part of a file name: letters, digits, dot and dash; at most 60 of them."""
    return re.sub(r"[^\w.-]+", "-", name.rsplit(".", 1)[0]).strip("-.")[:60] or "picture"
