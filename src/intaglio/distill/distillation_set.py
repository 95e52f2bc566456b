"""`DistillationSet`: the latents and captions that a student is trained on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from intaglio.images.image_set import ImageSet
from intaglio.learning.step_randomness import batch_at, dropped_at
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.run import Run
from intaglio.sampling.trained.captioned_latents import CaptionedLatents, encoded_pictures
from intaglio.sampling.trained.own_latents import own_latents


class SetBatch(NamedTuple):
    """The latents of an update, on the CPU, and their captions, of which some are empty."""

    latents: Float[Tensor, "n c h w"]
    captions: list[str]


@dataclass(frozen=True, eq=False)
class DistillationSet(CaptionedLatents):
    """Clean latents, each with a caption: of pictures, or drawn by the teacher itself."""

    source: str
    """Where the latents come from, in words."""

    @classmethod
    def of_pictures(cls, model: LatentDiffusion, images: ImageSet) -> "DistillationSet":
        """The latents of pictures. Raises `BadInput` where there are none, or one has no caption."""
        return cls(*encoded_pictures(model, images, ", or give --prompts"), f"{len(images)} pictures")

    @classmethod
    def of_teacher(
        cls, teacher: LatentDiffusion, prompts: Sequence[str], count: int, *, scale: float, seed: int, run: Run
    ) -> "DistillationSet":
        """`count` latents that the teacher draws for the prompts in turn, by 20 steps of DDIM; `run` keeps them."""
        latents = own_latents(
            teacher, prompts, count, steps=OWN_STEPS, scale=scale, batch=OWN_BATCH, seed=seed, run=run, name=OWN_STATE
        )
        captions = tuple(prompts[k % len(prompts)] for k in range(count))
        return cls(latents, captions, f"{count} pictures of its own under guidance {scale:g}")

    def batch(self, step: int, size: int, *, dropped: float, seed: int, stream: str) -> SetBatch:
        """The rows of update `step`, a share `dropped` without their captions: a function of (seed, stream, step)."""
        rows = batch_at(range(len(self.latents)), step, size, seed, stream)
        empty = dropped_at(size, dropped, step, seed).tolist()
        captions = ["" if out else self.captions[row] for row, out in zip(rows, empty, strict=True)]
        return SetBatch(self.latents[rows], captions)


OWN_STEPS, OWN_BATCH, OWN_STATE = 20, 16, "teachers_latents"
"""Steps of DDIM and pictures at once of the teacher's own latents, and the run's state that keeps them."""
