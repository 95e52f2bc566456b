"""`DistillationSet`: the latents and captions that a student is trained on."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet
from intaglio.learning.step_randomness import batch_at, dropped_at
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.run import Run
from intaglio.sampling.trained.own_latents import own_latents

CHUNK = 8
"""Pictures encoded at a time."""


class SetBatch(NamedTuple):
    """The latents of an update, on the CPU, and their captions, of which some are empty."""

    latents: Float[Tensor, "n c h w"]
    captions: list[str]


@dataclass(frozen=True, eq=False)
class DistillationSet:
    """Clean latents, each with a caption: of pictures, or drawn by the teacher itself."""

    latents: Float[Tensor, "n c h w"]
    """On the CPU, float32."""
    captions: tuple[str, ...]
    source: str
    """Where the latents come from, in words."""

    def __post_init__(self) -> None:
        if not len(self.latents) or len(self.latents) != len(self.captions):
            raise ValueError(f"give as many captions as latents, one or more, not {len(self.captions)}")

    @classmethod
    @torch.no_grad()
    def of_pictures(cls, teacher: LatentDiffusion, images: ImageSet) -> "DistillationSet":
        """The latents of pictures. Raises `BadInput` where there are none, or one has no caption."""
        if not len(images):
            raise BadInput("there are no pictures to distil on; give a folder with at least one, or --prompts")
        captions = images.captions
        if bare := [name for name, caption in zip(images.names, captions, strict=True) if caption is None]:
            raise BadInput(f"{bare[0]} has no caption; put a .txt file of the same name beside it, or give --prompts")
        parts = images.pixels.split(CHUNK)
        latents = [teacher.encode(part.to(teacher.device, teacher.dtype)).float().cpu() for part in parts]
        return cls(torch.cat(latents), tuple(str(caption) for caption in captions), f"{len(images)} pictures")

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

    @property
    def hash(self) -> str:
        """Sha256 over latents and captions."""
        digest = hashlib.sha256(self.latents.contiguous().numpy().tobytes())
        digest.update(repr(self.captions).encode())
        return digest.hexdigest()

    def batch(self, step: int, size: int, *, dropped: float, seed: int, stream: str) -> SetBatch:
        """The rows of update `step`, a share `dropped` without their captions: a function of (seed, stream, step)."""
        rows = batch_at(range(len(self.latents)), step, size, seed, stream)
        empty = dropped_at(size, dropped, step, seed).tolist()
        captions = ["" if out else self.captions[row] for row, out in zip(rows, empty, strict=True)]
        return SetBatch(self.latents[rows], captions)


OWN_STEPS, OWN_BATCH, OWN_STATE = 20, 16, "teachers_latents"
"""Steps of DDIM and pictures at once of the teacher's own latents, and the run's state that keeps them."""
