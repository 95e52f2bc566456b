"""SVDD: of several proposals of each denoising step, the one of which a verifier expects most goes on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from intaglio.errors import BadInput
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.sampling.calls import Calls, Predict
from intaglio.sampling.family import SamplingRequest
from intaglio.sampling.grid import CLEAN, NoiseLevel
from intaglio.sampling.guide import GuideContext
from intaglio.sampling.guides.classifier_free import ClassifierFree
from intaglio.sampling.particles import (
    LogWeights,
    ParticleContext,
    Particles,
    ParticleSampling,
    ParticleTrace,
    of_slots,
)
from intaglio.sampling.resampling import one_of
from intaglio.sampling.start import latent_shape
from intaglio.sampling.step import ancestral_step, clean_estimate
from intaglio.sampling.verifier import Verifier
from intaglio.sampling.verifier_names import verifier_of


@dataclass(frozen=True, kw_only=True)
class SVDD(ParticleSampling):
    """SVDD: denoising led by any verifier, without its gradient (soft value-based decoding).

    From the latents of a step M proposals x' of the model's own kernel, the posterior of DDPM, are drawn, and one goes
    on with probability in proportion to exp(v(x') / α). The value v(x') is the verifier's score r of the decoded clean
    estimate of x' (the variant SVDD-PM). Where v is the soft value α log E[exp(r / α) | x'], the pictures follow
    p(x) exp(r(x) / α): a small temperature α buys score with diversity and realism, and with 0 the best proposal is
    taken, as the authors' programs do, which runs away from the model's pictures as far as the verifier lets it. M = 1
    is plain sampling by ddpm.

    A step costs one call a proposal, two under guidance, and its decoding and judgement. With `--resample-below` under
    1 proposals go on side by side, each weighed by exp(Δv / α), until their effective share falls below it. A proposal
    without a finite score is not chosen.

    Source: arXiv 2408.08252, with the posterior mean for the value.
    """

    particles: int = 20
    """Proposals M of each step, 1 to 4096."""
    resample_below: float = 1.0
    """Effective share of the proposals, in [0, 1], below which one replaces all; 1 chooses at each step."""
    verifier: str = "jpeg"
    """What scores pictures: jpeg, colour:NAME, ink, like:FOLDER, denoiser, attributes, attributes:0, attributes:1 or
    scene."""
    temperature: float = 0.0
    """α in units of the verifier's score, 0 or more: a difference of scores that makes one proposal e times as probable
    as another; 0 takes the best."""
    choose_below: float = 5.0
    """Noise over signal, above 0, below which proposals are drawn and chosen; at more noise clean estimates are blurs,
    and one proposal goes on."""

    bench: ClassVar[Sequence[Mapping[str, Any]]] = tuple(
        {"verifier": "jpeg", "particles": 8, "temperature": temperature} for temperature in (0.3, 0.1, 0.03)
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.temperature < float("inf"):
            raise ValueError(f"temperature must be 0 or more, and finite, not {self.temperature}")
        if not 0 < self.choose_below < float("inf"):
            raise ValueError(f"choose_below must be above 0, and finite, not {self.choose_below}")
        if not self.temperature and self.resample_below != 1:
            raise ValueError("temperature 0 takes the best at each step; leave resample_below at 1")

    def judge(self, model: LatentDiffusion, prompts: Sequence[str] = ()) -> Verifier:
        """The verifier. Raises `BadInput` for one that there is not, and for prompts that it cannot judge."""
        return verifier_of(self.verifier, model, prompts)

    def check(self, request: SamplingRequest) -> None:
        """Raises `BadInput` for a verifier that there is not, and where nothing would be chosen."""
        super().check(request)
        self.judge(request.model, request.prompts)
        if self.particles > 1 and not self._choices(request):
            raise BadInput(
                f"svdd would choose nothing: of {request.steps} steps none begins below noise over signal "
                f"{self.choose_below:g} after the first; take more --steps, or a higher --choose-below"
            )

    def init(self, context: ParticleContext) -> "_State":
        """The state before the first step: nothing is predicted yet."""
        batch, guide = context.batch, ClassifierFree(context.batch.scale)
        prompts = tuple(prompt for prompt in batch.prompts for _ in range(self.particles))
        wide = replace(
            batch, prompts=prompts, positive=context.rows(batch.positive), negative=context.rows(batch.negative)
        )
        value = torch.zeros(len(batch.prompts), self.particles, dtype=torch.float64)
        noise, unscored = torch.zeros(*value.shape, *latent_shape(batch)), torch.zeros(len(value), dtype=torch.long)
        given = {1: guide.init(batch), self.particles: guide.init(wide)}
        return _State(wide, guide, given, self.judge(batch.model), noise, value, unscored)

    def advance(
        self, state: "_State", x: Particles, now: NoiseLevel, then: NoiseLevel, predict: Predict, noise: Particles
    ) -> tuple["_State", Particles, LogWeights]:
        """Proposals at the level `then`, and increments of log weights: 0 before choosing begins and at the end."""
        if not state.begun:
            x = x[:, :1].expand_as(x)
            state = replace(state, noise=state.predicted(x, now, predict, 1), begun=True)
        if then == CLEAN:
            return state, ancestral_step(x, state.noise, now, then, noise), torch.zeros_like(state.value)
        if not self._chooses(then):
            x = ancestral_step(x, state.noise, now, then, noise[:, :1].expand_as(noise))
            return replace(state, noise=state.predicted(x, then, predict, 1)), x, torch.zeros_like(state.value)
        x = ancestral_step(x, state.noise, now, then, noise)
        state = replace(state, noise=state.predicted(x, then, predict, self.particles))
        value, lost = state.scored(clean_estimate(x, state.noise, then))
        gain = self._gain(value - state.value, lost)
        unscored = state.unscored + lost.sum(1)
        return replace(state, value=torch.where(lost, state.value, value), unscored=unscored), x, gain

    def choose(self, log_w: LogWeights, u: Float[Tensor, "n"]) -> Int[Tensor, "n k"]:
        """One ancestor for all slots, drawn by the weights."""
        return one_of(log_w, u)[:, None].expand_as(log_w)

    def follow(self, state: "_State", ancestors: Int[Tensor, "n k"]) -> "_State":
        """The state with the prediction and the value of the chosen ones, so that nothing is predicted twice."""
        return replace(state, noise=of_slots(state.noise, ancestors), value=of_slots(state.value, ancestors))

    def trace(self, state: "_State", particles: ParticleTrace, picked: Int[Tensor, "n"]) -> "_Trace":
        """With the scores of the finished pictures: the clean estimate of the last choice is the picture."""
        return _Trace(particles, state.value[torch.arange(len(picked)), picked], state.unscored)

    def planned(self, request: SamplingRequest) -> Calls:
        """A call of the first latents, then one a proposal, twice under guidance; and the verifier's."""
        judged = self.particles * self._choices(request)
        rows = request.steps - self._choices(request) + judged
        if self.particles == 1:
            return Calls(forward=request.steps * (1 if request.scale == 1 else 2))
        calls = self.judge(request.model).calls
        forward = rows * (1 if request.scale == 1 else 2) + calls * judged
        return Calls(forward=forward, decodes=judged, verifications=judged)

    def reading_of(self, traces: Sequence["_Trace"]) -> str:
        """The verifier's scores of the pictures, and proposals without one."""
        if self.particles == 1:
            return ""
        scores = torch.cat([trace.scores for trace in traces])
        lost = int(sum(trace.unscored.sum() for trace in traces))
        words = f"{self.verifier} scores the pictures {float(scores.mean()):.4g} on average"
        return f"{words}; {lost:,} proposals had no score, and were not chosen" if lost else words

    def _chooses(self, level: NoiseLevel) -> bool:
        return self.particles > 1 and level != CLEAN and level.ratio < self.choose_below

    def _choices(self, request: SamplingRequest) -> int:
        return sum(self._chooses(level) for level in request.grid[1:])

    def _gain(self, rise: Float[Tensor, "n k"], lost: Bool[Tensor, "n k"]) -> LogWeights:
        """Increments of the log weights; those without a score get -inf, unless none has one."""
        rise = rise.masked_fill(lost, -torch.inf)
        if self.temperature:
            gain = rise / self.temperature
        else:
            gain = torch.where(rise == rise.amax(1, keepdim=True), 0.0, -torch.inf)
        return gain.masked_fill(lost.all(1, keepdim=True), 0.0)


@dataclass(frozen=True, eq=False)
class _Trace:
    """Record of a batch's proposals."""

    particles: ParticleTrace
    scores: Float[Tensor, "n"]
    """The verifier's score of each picture, of the last clean estimate that had one; 0 where none had."""
    unscored: Int[Tensor, "n"]
    """Proposals of each picture that the verifier gave no score."""


@dataclass(frozen=True, eq=False)
class _State:
    """Predictions and values of the proposals as they stand."""

    wide: GuideContext
    """The batch with a row for each proposal."""
    guide: ClassifierFree
    given: Mapping[int, Any]
    """The guide's state by the number of proposals of a picture."""
    verifier: Verifier
    noise: Particles
    """Predictions at the proposals."""
    value: Float[Tensor, "n k"]
    """Scores of their clean estimates, 0 before choosing begins."""
    unscored: Int[Tensor, "n"]
    begun: bool = False
    """Whether anything was predicted yet."""

    def predicted(self, x: Particles, level: NoiseLevel, predict: Predict, count: int) -> Particles:
        """The guided noise at the first `count` slots; with 1 it is that of all."""
        rows = x[:, :count].flatten(0, 1).float().to(self.wide.model.device)
        t = level.batch(len(rows), rows.device)
        noise = self.guide.step(self.given[count], rows, t, predict)[1]
        return noise.cpu().double().unflatten(0, (len(x), count)).expand_as(x)

    def scored(self, clean: Particles) -> tuple[Float[Tensor, "n k"], Bool[Tensor, "n k"]]:
        """Scores of clean estimates, and which have none."""
        context, n, count = self.wide, *clean.shape[:2]
        pixels = context.decode(clean.flatten(0, 1).float().to(context.model.device), spare_failed=True)
        context.calls.verifications += n * count
        context.calls.forward += self.verifier.calls * n * count
        scores = self.verifier(pixels, context.prompts).double().view(n, count)
        return scores, ~scores.isfinite()
