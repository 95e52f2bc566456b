"""Guidance by a measurement: latents are moved so that the picture they lead to is measured as it was."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Real
from torch import Tensor

from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.latent_diffusion import unit_noise
from intaglio.sampling.grid import CLEAN, NoiseLevel, level_at
from intaglio.sampling.guide import GuideContext, Predict
from intaglio.sampling.guides.classifier_free import ClassifierFree
from intaglio.sampling.operator import Operator
from intaglio.sampling.step import clean_estimate


class Measuring(NamedTuple):
    """The state: the batch, the conditioning of its predictions, and the level after each timestep."""

    context: GuideContext
    given: Conditioning
    after: dict[int | float, NoiseLevel]


@dataclass(frozen=True, eq=False)
class MeasurementGuidance:
    """Moves of the latents before each step, down the gradient of `objective`; the steps are classifier-free guidance.

    Settings are those of `STSL`, which says the maths.
    """

    operator: Operator
    measured: Float[Tensor, "one c hm wm"]
    """The measured picture of all, or one of each."""
    sources: Sequence[torch.Generator]
    """A source of probes for each picture."""
    stochastic: bool
    """Whether the sampler draws fresh noise, so that its drift by a score is about twice as long."""
    noise: float
    order: int
    weight: float
    probe: float
    rate: float
    gluing: float
    updates: int
    scale: float

    def init(self, context: GuideContext) -> Measuring:
        """The state never changes."""
        levels = [level_at(context.model.schedule, t) for t in context.timesteps]
        after = dict(zip(context.timesteps, [*levels[1:], CLEAN], strict=True))
        return Measuring(context, self._free.init(context), after)

    def step(
        self, state: Measuring, latents: Float[Tensor, "n *shape"], t: Real[Tensor, "n"], predict: Predict
    ) -> tuple[Measuring, Float[Tensor, "n *shape"]]:
        """The guided noise."""
        return state, self._free.step(state.given, latents, t, predict)[1]

    def move(
        self, state: Measuring, latents: Float[Tensor, "n c h w"], t: Real[Tensor, "n"], predict: Predict
    ) -> tuple[Measuring, Float[Tensor, "n c h w"]]:
        """The latents after the node's updates; NaN for a picture that failed on the way."""
        level, x = state.context.level(t), latents
        length = self.rate * self._length(level, state.after[level.t])
        failed = torch.zeros(len(x), 1, 1, 1, dtype=torch.bool, device=x.device)
        for _ in range(self.updates):
            x = x - length * self.gradient(state, x, t, predict)
            failed |= ~x.isfinite().flatten(1).all(1).view(-1, 1, 1, 1)
            x = x.masked_fill(failed, 0.0)
        return state, x.masked_fill(failed, torch.nan)

    def gradient(
        self, state: Measuring, latents: Float[Tensor, "n c h w"], t: Real[Tensor, "n"], predict: Predict
    ) -> Float[Tensor, "n c h w"]:
        """The gradient of each picture's objective in its latents."""
        with torch.enable_grad():
            x = latents.detach().requires_grad_(True)
            (found,) = torch.autograd.grad(self.objective(state, x, t, predict).sum(), x)
        return found

    def objective(
        self, state: Measuring, x: Float[Tensor, "n c h w"], t: Real[Tensor, "n"], predict: Predict
    ) -> Float[Tensor, "n"]:
        """The misfit of each picture, its gluing, and the trace term of the second order."""
        context, level = state.context, state.context.level(t)
        noise = self.step(state, x, t, predict)[1]
        clean = clean_estimate(x, noise, level)
        pixels = context.decode(clean, clamp=False)
        measured, now = self.measured.to(pixels), self.operator.forward(pixels)
        misfit = (measured - now).flatten(1).norm(dim=1)
        found = misfit.square() / (2 * self.noise**2) if self.noise else misfit
        if self.gluing:
            known = self.operator.back(measured) + pixels - self.operator.back(now)
            found = found + self.gluing * (self._encoded(context, known) - clean).flatten(1).norm(dim=1)
        if self.order == 2:
            weight = self.weight * self._derived(now, clean, misfit, level)
            found = found + weight * self._trace(state, x, noise, t, predict)
        return found

    @property
    def _free(self) -> ClassifierFree:
        return ClassifierFree(self.scale)

    def _length(self, now: NoiseLevel, then: NoiseLevel) -> float:
        """1 for the norm; for a likelihood the sampler's own drift by a score of x, in equal parts."""
        if not self.noise:
            return 1.0
        fall = now.ratio**2 - then.ratio**2 if self.stochastic else now.ratio * (now.ratio - then.ratio)
        return now.signal**2 * fall / self.updates

    def _encoded(self, context: GuideContext, pixels: Tensor) -> Tensor:
        context.calls.decodes += len(pixels)
        return context.model.encode(pixels)

    def _trace(self, state: Measuring, x: Tensor, noise: Tensor, t: Tensor, predict: Predict) -> Float[Tensor, "n"]:
        """Laplacian tr ∇² log p(x), by a forward difference of the score -ε / n along one probe of random signs."""
        n = state.context.level(t).noise
        signs = self._signs(x)
        beside = self.step(state, x + self.probe * n * signs, t, predict)[1]
        return -(signs * (beside - noise)).flatten(1).sum(1) / (self.probe * n**2)

    def _derived(self, now: Tensor, clean: Tensor, misfit: Tensor, level: NoiseLevel) -> Float[Tensor, "n"]:
        """The weight at which the objective is that of the mean squared misfit over the posterior's spread."""
        (through,) = torch.autograd.grad((now * self._signs(now)).sum(), clean, retain_graph=True)
        gain = through.flatten(1).square().mean(1)
        scale = self.noise**2 if self.noise else misfit.detach().clamp(min=1e-6)
        return gain * (level.ratio * level.noise) ** 2 / (2 * scale)

    def _signs(self, like: Tensor) -> Tensor:
        """A probe of each picture, whose numbers are 1 or -1."""
        return torch.where(unit_noise(like.shape[1:], self.sources) < 0, -1.0, 1.0).to(like)
