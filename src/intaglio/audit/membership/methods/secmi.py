"""SecMI: the step-wise error of a deterministic step forth and back, a membership test."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from intaglio.audit.membership.per_model import PerModelScore, PromptedModel
from intaglio.metrics.statistics.enough_controls import Sides
from intaglio.sampling.grid import level_at
from intaglio.sampling.step import ddim_step


@dataclass(frozen=True, kw_only=True)
class SecMI(PerModelScore):
    """SecMI: the error of one DDIM step up and down, at one timestep of the inversion.

    A picture's latents z0 [n, c, h, w] are inverted along the model's own deterministic path, in steps of `stride`
    timesteps, to x_t at timestep t; one more step up and one down give x'_t. The score of one model is the negated
    t-error, a mean over the entries of a latent,

        - mean (x'_t - x_t)^2,    x'_t = DDIM(DDIM(x_t; t -> t + stride); t + stride -> t),

    each step with the model's noise prediction where it begins: near a picture that was trained on, the predictions
    of neighbouring timesteps agree. The published test looks at the suspect alone. On few-shot fine-tunes the sign of
    the effect turns with the timestep and the set, so that scores to both sides of the controls' count: with p_up of n
    controls at or above the score, (1 + count)/(n + 1), and p_low of those at or below, p = min(1, 2 min(p_up, p_low)).
    A rate of 5% takes 39 controls.

    Source: arXiv 2302.01316 (ICML 2023), SecMI_stat, at t = 100 there; the authors' code for Stable
    Diffusion compares at t = 140, in steps of 10.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "how exactly the suspect comes back by one step of noise up and one down"
    sides: ClassVar[Sides] = "both"

    timestep: int = 300
    """Timestep t of the comparison, a multiple of `stride`. Published: 100."""
    stride: int = 10
    """Timesteps in a step, from 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stride < 1:
            raise ValueError(f"stride must be at least 1, not {self.stride}")
        if self.timestep < self.stride or self.timestep % self.stride:
            raise ValueError(f"timestep must be a multiple of stride ({self.stride}) above 0, not {self.timestep}")

    @property
    def last_timestep(self) -> int:
        """The timestep that the step forth ends at."""
        return self.timestep + self.stride

    @property
    def queries(self) -> int:
        """One a step of the inversion, and one each for the step forth and the step back."""
        return self.timestep // self.stride + 2

    def score(self, model: PromptedModel, latents: Float[Tensor, "n c h w"]) -> Float[Tensor, "n"]:
        """The negated t-error."""

        def step(x: Tensor, now: int, then: int) -> Tensor:
            schedule = model.model.schedule
            levels = (level_at(schedule, model.at(t)) for t in (now, then))
            return ddim_step(x, model.noise(x, now), *levels)

        x = latents
        for t in range(0, self.timestep, self.stride):
            x = step(x, t, t + self.stride)
        forth = step(x, self.timestep, self.last_timestep)
        back = step(forth, self.last_timestep, self.timestep)
        return -(back - x).square().flatten(1).mean(1)
