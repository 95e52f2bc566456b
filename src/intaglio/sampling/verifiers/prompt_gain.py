"""Gain of a prompt in denoising a picture: a score of how well the picture shows it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.models.diffusion.latent_diffusion import LatentDiffusion, unit_noise
from intaglio.randomness import generator


@dataclass(frozen=True, eq=False)
class PromptGain:
    """Mean over m draws of time and noise of ‖ξ - ε(empty)‖² - ‖ξ - ε(prompt)‖², at the noised picture.

    The model is any diffusion model, also the one that draws; the score then goes with classifier-free guidance. Draws
    are the same for all pictures. It costs 2 m calls a picture.
    """

    model: LatentDiffusion
    draws: int = 8
    """Draws m of time and noise, 1 or more; times are in the middles of m equal parts of the schedule."""
    seed: int = 0
    """Seed of the noise."""
    name: str = "denoiser"
    differentiable: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.draws <= self.model.schedule.count:
            raise ValueError(f"draws must be 1 to {self.model.schedule.count}, not {self.draws}")

    @property
    def calls(self) -> int:
        return 2 * self.draws

    @property
    def hash(self) -> str:
        return hashlib.sha256(f"{self.model.fingerprint} {self.draws} {self.seed}".encode()).hexdigest()

    def __call__(self, pixels: Float[Tensor, "n 3 h w"], prompts: Sequence[str]) -> Float[Tensor, "n"]:
        """The score of each picture; NaN for one that is not finite."""
        model, count = self.model, self.model.schedule.count
        failed = ~pixels.detach().isfinite().flatten(1).all(1)
        latents = model.encode(pixels.masked_fill(failed.view(-1, 1, 1, 1), 0.5).clamp(0, 1).to(model.device))
        given, empty = model.embed(list(prompts)).detach(), model.embed([""]).detach()
        total = torch.zeros(len(pixels), device=latents.device)
        for draw in range(self.draws):
            noise = unit_noise(latents.shape[1:], [generator(self.seed, "noise", draw)]).to(latents)
            noise = noise.expand_as(latents)
            t = torch.full((len(latents),), int((draw + 0.5) * count / self.draws), device=latents.device)
            noised = model.noised(latents, noise, t)
            for sign, conditioning in ((1, empty), (-1, given)):
                total = total + sign * (noise - model.predict(noised, t, conditioning)).square().flatten(1).sum(1)
        return (total / self.draws).cpu().masked_fill(failed.cpu(), torch.nan)
