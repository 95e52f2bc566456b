"""Share of a caption's constraints that a picture of coloured shapes meets, by an exact parser."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.sampling.scenes import recognition
from intaglio.sampling.scenes.grammar import scene_of
from intaglio.sampling.scenes.recognition import SceneCheck, checked, seen_objects
from intaglio.sampling.scenes.shapes import PALETTE


@dataclass(frozen=True)
class SceneVerifier:
    """Share of the constraints of `a red circle left of a blue square` that a picture meets, in [0, 1].

    For each entity its colour, its shape and both in one object; the relation; and the number of objects: eight for two
    entities, five for one. A picture is parsed into parts of one colour of 40 pixels or more, whose shapes are told by
    overlap with templates, so that nothing is learnt. 1 is all correct; 0 is a picture that is no scene: without an
    object, with three or more, or with one of no known shape.
    """

    name: str = "scene"
    differentiable: bool = False
    calls: int = 0

    @property
    def hash(self) -> str:
        limits = (recognition.LEAST_AREA, recognition.LEAST_COVERED, recognition.LEAST_OVERLAP)
        return hashlib.sha256(f"scene {sorted(PALETTE.items())} {limits}".encode()).hexdigest()

    def check(self, prompts: Sequence[str]) -> None:
        """Raises `BadInput` for a prompt that is no caption of a scene."""
        for prompt in dict.fromkeys(prompts):
            scene_of(prompt)

    def __call__(self, pixels: Float[Tensor, "n 3 h w"], prompts: Sequence[str]) -> Float[Tensor, "n"]:
        """The share for each picture; NaN for one that is not finite. Raises `BadInput` for an unknown prompt."""
        failed = ~pixels.isfinite().flatten(1).all(1).cpu()
        checks = self.checks(pixels.masked_fill(failed.to(pixels.device).view(-1, 1, 1, 1), 1.0), prompts)
        return torch.tensor([one.share for one in checks]).masked_fill(failed, torch.nan)

    def checks(self, pixels: Float[Tensor, "n 3 h w"], prompts: Sequence[str]) -> list[SceneCheck]:
        """The constraints of each prompt against its picture."""
        pictures = pixels.detach().float().cpu().numpy()
        return [checked(scene_of(prompt), seen_objects(one)) for prompt, one in zip(prompts, pictures, strict=True)]
