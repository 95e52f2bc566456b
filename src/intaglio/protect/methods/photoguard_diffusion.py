"""PhotoGuard's diffusion attack: pictures that a model edits into another picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.denoising.losses import arithmetic
from intaglio.protect.denoising_walk import timesteps, walked
from intaglio.protect.family import SamplingProtector
from intaglio.protect.surrogate import Surrogate


@dataclass(frozen=True, kw_only=True)
class PhotoGuardDiffusion(SamplingProtector):
    """PhotoGuard's diffusion attack: lead the model's edits of the picture to a target, or to grey.

    What is lowered is the distance of the edited picture from the target, in [-1, 1], through the whole edit: encoder,
    a few denoising steps that draw their noise anew, decoder. Published (the authors' notebook, in its max-norm form):
    a budget of 12.75, 200 steps of 0.765 that average over 5 edits, towards grey. They edit by an inpainting model,
    this by the surrogate itself, which noises the picture up to `strength` (SDEdit, arXiv 2108.01073).

    Source: arXiv 2302.06588.
    """

    reading: ClassVar[str] = "makes what a model edits the picture into another picture"
    objective: ClassVar[str] = "closeness of edits to the target"
    uses_target: ClassVar[bool] = True

    edit_steps: int = 4
    """Denoising steps of an edit, from 1."""
    strength: float = 0.5
    """Share of the timesteps that an edit noises the picture up to, in (0, 1]."""
    samples: int = 1
    """Edits a step, from 1, each with noise of its own; the gradient is their mean."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.edit_steps < 1:
            raise ValueError(f"edit_steps must be at least 1, not {self.edit_steps}")
        if not 0 < self.strength <= 1:
            raise ValueError(f"strength must be above 0 and at most 1, not {self.strength}")

    def gradient(
        self,
        surrogate: Surrogate,
        pixels: Float[Tensor, "m 3 h w"],
        target: Float[Tensor, "1 3 h w"] | None,
        sources: Sequence[torch.Generator],
    ) -> tuple[Float[Tensor, "m"], Float[Tensor, "m 3 h w"]]:
        """See `Protector.gradient`."""
        aim = torch.full_like(pixels[:1], 0.5) if target is None else target

        def at_latents(
            latents: Float[Tensor, "m c hl wl"], sources: Sequence[torch.Generator]
        ) -> tuple[Float[Tensor, "m"], Float[Tensor, "m c hl wl"]]:
            values, slopes = torch.zeros(len(latents)), torch.zeros_like(latents)
            for _ in range(self.samples):
                distance, slope = self._edit(surrogate, latents, aim, sources)
                values, slopes = values - distance / self.samples, slopes - slope / self.samples
            return values, slopes

        return surrogate.gradient(pixels, at_latents, sources, sampled=True)

    def _edit(
        self,
        surrogate: Surrogate,
        latents: Float[Tensor, "m c hl wl"],
        aim: Float[Tensor, "1 3 h w"],
        sources: Sequence[torch.Generator],
    ) -> tuple[Float[Tensor, "m"], Float[Tensor, "m c hl wl"]]:
        """The distance of each edited picture from the target, and its gradient by the latents."""
        model = surrogate.model
        given = latents.detach().requires_grad_(True)
        with torch.enable_grad(), arithmetic(model, surrogate.precision):
            times = timesteps(model, self.strength, self.edit_steps)
            clean = walked(model, given, surrogate.text, times, sources, eta=1.0)
            edited = model.decode(clean.to(model.device)).float().cpu()
            distance = 2 * (edited - aim).flatten(1).norm(dim=1)
        (slope,) = torch.autograd.grad(distance.sum(), given)
        return distance.detach(), slope
