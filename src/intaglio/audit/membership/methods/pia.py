"""PIA: the proximal initialisation attack, a membership test from two queries a timestep."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.audit.membership.per_model import PerModelScore, PromptedModel


@dataclass(frozen=True, kw_only=True)
class PIA(PerModelScore):
    """PIA: how well a model agrees with its own noise prediction of the clean picture.

    The model's prediction eps_0 = eps_theta(z0, 0) at the clean latent z0 stands in for the noise on the deterministic
    path from z0 to timestep t; a picture that was trained on lies closer to that path. The score of one model is

        - || eps_0 - eps_theta(sqrt(abar_t) z0 + sqrt(1 - abar_t) eps_0, t) ||_p / n^(1/p),

    averaged over `timesteps`, with n the entries of a latent, which orders pictures as the norm does. With
    `normalise` (PIAN, `--preset pian`), eps_0 is first scaled so that its mean absolute value is sqrt(2/pi), that of a
    standard normal. The published test looks at the suspect alone.

    Source: arXiv 2305.18355 (ICLR 2024), R_t and its normalised form, p = 4. Published runs scan t in steps and report
    the best on the evaluated data; here the timesteps are fixed beforehand.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "how well the suspect agrees with its own first guess of the picture’s noise"

    timesteps: tuple[int, ...] = (100, 200, 300, 400, 500)
    """Timesteps of the second query, averaged; each from 1."""
    norm: float = 4.0
    """p of the norm, from 1."""
    normalise: bool = False
    """Scale the first prediction to the size of standard normal noise (PIAN)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.timesteps or min(self.timesteps) < 1:
            raise ValueError(f"timesteps must be one or more numbers from 1, not {self.timesteps}")
        if not 1 <= self.norm < math.inf:
            raise ValueError(f"norm must be a finite number from 1, not {self.norm}")

    @property
    def last_timestep(self) -> int:
        """The highest of `timesteps`."""
        return max(self.timesteps)

    @property
    def queries(self) -> int:
        """One of the clean picture, and one a timestep."""
        return 1 + len(self.timesteps)

    def score(self, model: PromptedModel, latents: Float[Tensor, "n c h w"]) -> Float[Tensor, "n"]:
        """The negated distance of the two predictions, averaged over the timesteps."""
        # With the first prediction for noise at timestep 0 nothing would be clean, so the latents go in as they are.
        first = model.noise(latents, 0)
        if self.normalise:
            first = first / first.abs().mean((1, 2, 3), keepdim=True) * math.sqrt(2 / math.pi)
        away = [(first - model.noise(model.noised(latents, first, t), t)).abs() for t in self.timesteps]
        norms = [each.pow(self.norm).flatten(1).mean(1).pow(1 / self.norm) for each in away]
        return -torch.stack(norms).mean(0)
