"""PPGN: a walk among clean latents, towards what a verifier likes and what the model holds for probable."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.errors import BadInput
from intaglio.models.diffusion.latent_diffusion import unit_noise
from intaglio.randomness import generator
from intaglio.sampling.calls import Calls
from intaglio.sampling.family import SamplingMethod, SamplingRequest
from intaglio.sampling.grid import CLEAN, NoiseLevel, level_at
from intaglio.sampling.guide import GuideContext
from intaglio.sampling.guides.classifier_free import ClassifierFree
from intaglio.sampling.sampling_batch import SamplingBatch, refuse_non_finite
from intaglio.sampling.step import clean_estimate
from intaglio.sampling.verifier import Verifier
from intaglio.sampling.verifier_names import verifier_of

Latents = Float[Tensor, "n c h w"]


@dataclass(frozen=True, kw_only=True)
class Ppgn(SamplingMethod):
    """PPGN: drawn latents that walk on, up a verifier's score and within what the model draws.

    From a plain sample, each step adds

        rate · (prior · (R(h) - h) + condition · ∇ score(decoded h) + noise · ξ)

    to the clean latents h. R is the model's clean estimate of h with noise of the level ρ and no prompt, whose
    difference from h is ρ² times the gradient of the log-density of latents with that noise; or h decoded and encoded
    again (`--reconstruction autoencoder`). The verifier must have a gradient. By default the noise is 0, and the walk
    an ascent.

    Source: arXiv 1612.00005, whose code is features of a classifier; with `normalise` each step is divided by the mean
    of its absolute values, as the authors do.
    """

    verifier: str = ""
    """Verifier with a gradient: colour:NAME, ink or denoiser."""
    iterations: int = 100
    """Steps of the walk, 0 or more."""
    rate: float = 1.0
    """Length of a step, above 0."""
    prior: float = 0.05
    """Weight of R(h) - h, 0 or more."""
    condition: float = 5.0
    """Weight of the gradient of the score, 0 or more, in latents squared a unit of the score."""
    noise: float = 0.0
    """Weight of fresh unit noise, 0 or more."""
    reconstruction: Literal["denoiser", "autoencoder"] = "denoiser"
    """What R is."""
    level: float = 0.3
    """Noise over signal ρ of the model's denoiser as R, above 0; the nearest timestep is taken."""
    normalise: bool = False
    """Divide each step by the mean of its absolute values, before the rate."""

    bench: ClassVar[Sequence[Mapping[str, Any]]] = ({"verifier": "colour:blue"},)

    def __post_init__(self) -> None:
        if not 0 <= self.iterations <= 10**6:
            raise ValueError(f"iterations must be 0 to a million, not {self.iterations}")
        for name in ("rate", "level"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be above 0, and finite, not {getattr(self, name)}")
        for name in ("prior", "condition", "noise"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be 0 or more, and finite, not {getattr(self, name)}")

    def check(self, request: SamplingRequest) -> None:
        """Raises `BadInput` without a verifier, and for one that has no gradient."""
        super().check(request)
        if not self.verifier:
            raise BadInput(
                "ppgn climbs the score of a verifier, and there is none; give --verifier, such as colour:blue"
            )
        if not verifier_of(self.verifier, request.model).differentiable:
            raise BadInput(
                f"the verifier {self.verifier} has no gradient, which ppgn climbs; give colour:NAME, ink or denoiser"
            )

    def latents(self, batch: SamplingBatch) -> Latents:
        """The latents of the sampler's walk under classifier-free guidance, walked on."""
        context, sources = batch.context, [generator(seed, "chain") for seed in batch.seeds]
        verifier = verifier_of(self.verifier, context.model)
        h = batch.walk(ClassifierFree(context.scale))
        failed = ~h.isfinite().flatten(1).all(1)
        for _ in range(self.iterations):
            moved = self._moved(h.masked_fill(failed.view(-1, 1, 1, 1), 0.0), batch, verifier, sources)
            bad = ~moved.isfinite().flatten(1).all(1)
            if bool(bad.any()) and not batch.spare_failed:
                refuse_non_finite(int(bad.nonzero()[0]), batch, CLEAN)
            failed = failed | bad
            h = moved.nan_to_num(0.0, 0.0, 0.0)
        return h.masked_fill(failed.view(-1, 1, 1, 1), torch.nan)

    def planned(self, request: SamplingRequest) -> Calls:
        """The walk of the sampler, and for each iteration the reconstruction, a decoding and a judgement."""
        own = self.reconstruction == "denoiser"
        a_step = Calls(
            forward=int(own) + verifier_of(self.verifier, request.model).calls, decodes=1 if own else 3, verifications=1
        )
        return Calls(forward=request.nodes * (1 if request.scale == 1 else 2)) + a_step.times(self.iterations)

    def _moved(
        self, h: Latents, batch: SamplingBatch, verifier: Verifier, sources: Sequence[torch.Generator]
    ) -> Latents:
        """The latents after one step."""
        context = batch.context
        step = self.prior * (self._reconstructed(h, batch, sources) - h)
        step = step + self.condition * _score_gradient(h, context, verifier)
        step = step + self.noise * unit_noise(h.shape[1:], sources).to(h)
        if self.normalise:
            step = step / step.abs().mean((1, 2, 3), keepdim=True).clamp(min=1e-12)
        return h + self.rate * step

    def _reconstructed(self, h: Latents, batch: SamplingBatch, sources: Sequence[torch.Generator]) -> Latents:
        context, model = batch.context, batch.context.model
        if self.reconstruction == "autoencoder":
            context.calls.decodes += len(h)
            return model.encode(context.decode(h))
        level = self._level(context)
        x = level.signal * h + level.noise * unit_noise(h.shape[1:], sources).to(h)
        t = level.batch(len(h), h.device)
        return clean_estimate(x, batch.predict(x, t, context.embed("")), level)

    def _level(self, context: GuideContext) -> NoiseLevel:
        schedule = context.model.schedule
        ratios = schedule.noises / schedule.signals
        return level_at(schedule, int((ratios.log() - math.log(self.level)).abs().argmin()))


def _score_gradient(h: Latents, context: GuideContext, verifier: Verifier) -> Latents:
    """The gradient of each picture's score in its latents; 0 where the score is not finite."""
    with torch.enable_grad():
        given = h.detach().requires_grad_(True)
        scores = verifier(context.decode(given, clamp=False), context.prompts)
        context.calls.verifications += len(h)
        context.calls.forward += verifier.calls * len(h)
        (gradient,) = torch.autograd.grad(scores.nan_to_num(0.0).sum(), given)
    return gradient.nan_to_num(0.0, 0.0, 0.0)
