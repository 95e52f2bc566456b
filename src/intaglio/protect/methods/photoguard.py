"""PhotoGuard: pictures whose latents are those of another picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.models.capabilities import Encodes, HasWeights, ReadsPrompts
from intaglio.protect.family import Protector
from intaglio.protect.surrogate import Surrogate


@dataclass(frozen=True, kw_only=True)
class PhotoGuard(Protector):
    """PhotoGuard's encoder attack: lead the picture's latents to those of a target, or to zero.

    What is lowered is the distance of the posterior's mean, before scaling, from the target's; steps shrink linearly
    to a hundredth of the first. The denoiser is never called. Published (the authors' notebook): a budget of 7.65, 1000
    steps of 2.55, towards zero.

    Source: arXiv 2302.06588.
    """

    reading: ClassVar[str] = "makes a model's encoder see another picture, so that edits start from that one"
    objective: ClassVar[str] = "closeness to the target"
    needs: ClassVar[tuple[type, ...]] = (Encodes, ReadsPrompts, HasWeights)
    uses_target: ClassVar[bool] = True

    def gradient(
        self,
        surrogate: Surrogate,
        pixels: Float[Tensor, "m 3 h w"],
        target: Float[Tensor, "1 3 h w"] | None,
        sources: Sequence[torch.Generator],
    ) -> tuple[Float[Tensor, "m"], Float[Tensor, "m 3 h w"]]:
        """See `Protector.gradient`."""
        aim = 0.0 if target is None else surrogate.latents(target)

        def at_latents(
            latents: Float[Tensor, "m c h w"], sources: Sequence[torch.Generator]
        ) -> tuple[Float[Tensor, "m"], Float[Tensor, "m c h w"]]:
            away = (latents - aim) / surrogate.model.scaling_factor
            distance = away.flatten(1).norm(dim=1)
            return -distance, -away / distance.clamp(min=1e-12).view(-1, 1, 1, 1)

        return surrogate.gradient(pixels, at_latents, sources, sampled=False)

    def step_size(self, step: int) -> float:
        """Shrinking linearly from `step` to a hundredth of it."""
        return self.step * (1 - 0.99 * step / max(1, self.steps - 1))
