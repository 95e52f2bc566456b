"""Guided distillation: guidance as an input of the network, then half the steps, again and again."""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from intaglio.distill.distillation_set import DistillationSet
from intaglio.distill.distilled import Distilled, distilled
from intaglio.distill.family import Distiller
from intaglio.distill.guidance_input import with_guidance_input
from intaglio.distill.stage import train_stage
from intaglio.errors import require
from intaglio.learning.loop import StepLoss
from intaglio.learning.loss_parts import in_parts, last_mean
from intaglio.learning.step_randomness import noise_at, timesteps_at
from intaglio.models.capabilities import HasUNet
from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.randomness import generator_32bit
from intaglio.runs.run import Run
from intaglio.sampling.calls import Calls
from intaglio.sampling.grid import timestep_grid


@dataclass(frozen=True, kw_only=True)
class GuidedDistillation(Distiller):
    """A student that takes the guidance scale as an input, then does two steps in one, repeatedly.

    First a copy of the teacher, with an input for the scale w, learns the guided prediction
    `empty + w * (prompt - empty)`, so that a step costs one call in place of two. Then, from `first_steps` steps of
    DDIM on, a student learns to do in one step what its teacher does in two; it is the teacher of the next halving, and
    the last one draws in `student_steps`. Errors are weighed in the clean latents by max(SNR, 1), since a small error
    of the noise is a large one of them where there is much noise.

    The first step of a grid is trained on unit noise, from which pictures are drawn, and not on noised latents, whose
    last noise level keeps a little of them.

    Source: arXiv 2210.03142; arXiv 2202.00512, algorithm 2, for the halving.
    """

    needs: ClassVar[tuple[type, ...]] = (*Distiller.needs, HasUNet)
    bench: ClassVar[Mapping[str, Any]] = MappingProxyType({"steps": 1500, "halving_steps": 700, "learning_rate": 2e-4})

    student_steps: int = 4
    """Steps of the student, 1 or more; `first_steps` halved a number of times."""
    first_steps: int = 16
    """Steps of DDIM of the teacher of the first halving; equal to `student_steps`, nothing is halved, and pictures can
    be drawn in any number of steps."""
    halving_steps: int = 1000
    """Updates of each halving, at least 1."""
    lowest_scale: float = 1.0
    """Least guidance scale of the training, 0 or more; 1 is none."""
    highest_scale: float = 8.0
    """Greatest guidance scale of the training."""
    caption_dropout: float = 0.1
    """Share of captions that are left empty, in [0, 1)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        halvings = math.log2(self.first_steps / self.student_steps) if min(self.first_steps, self.student_steps) else -1
        require(
            self.student_steps >= 1 and halvings >= 0 and halvings == int(halvings),
            f"first_steps must be student_steps times a power of 2, not {self.first_steps} and {self.student_steps}",
        )
        require(self.first_steps <= 1000, f"first_steps must be at most 1000, not {self.first_steps}")
        require(self.halving_steps >= 1, f"halving_steps must be at least 1, not {self.halving_steps}")
        require(
            0 <= self.lowest_scale < self.highest_scale < math.inf,
            f"lowest_scale must be 0 or more and below highest_scale, not {self.lowest_scale}, {self.highest_scale}",
        )
        require(0 <= self.caption_dropout < 1, f"caption_dropout must lie in [0, 1), not {self.caption_dropout}")

    @property
    def halvings(self) -> list[int]:
        """Steps of the students of the halvings, in their order."""
        return [self.first_steps >> k for k in range(1, (self.first_steps // self.student_steps).bit_length())]

    @property
    def states(self) -> tuple[str, ...]:
        """Those of the stages."""
        return ("guidance", *(f"steps-{steps}" for steps in self.halvings))

    def check(self, teacher: LatentDiffusion) -> None:
        """Raises `BadInput` for a teacher that it cannot distil."""
        super().check(teacher)
        timestep_grid(teacher.schedule, self.first_steps)

    def planned(self, teacher: LatentDiffusion) -> Calls:
        """Three calls a latent, two of the teacher, and a gradient."""
        rows = self.batch * (self.steps + len(self.halvings) * self.halving_steps)
        return Calls(forward=3 * rows, backward=rows)

    def __call__(self, teacher: LatentDiffusion, data: DistillationSet, *, run: Run = Run.none()) -> Distilled:
        """Trains the student with the guidance input, then halves its steps; see the family."""
        self.check(teacher)
        scales = (self.lowest_scale, self.highest_scale)
        student = with_guidance_input(teacher, scales, f"{teacher.name}-guided")
        with teacher.frozen():
            losses = train_stage(
                student, self, partial(self._input_loss, teacher, student, data), run, "guidance", teacher
            )
            facts: dict[str, Any] = {"guidance_loss": last_mean(losses)}
            for steps in self.halvings:
                student, losses = self._halved(student, steps, data, run)
                facts[f"loss_of_{steps}_steps"] = last_mean(losses)
        if self.halvings:
            timesteps = tuple(level.t for level in timestep_grid(teacher.schedule, self.student_steps)[:-1])
            sampling = replace(student.sampling, timesteps=timesteps, sampler="ddim")
            student = student.made_for(sampling, student.denoiser, student.name)
        return distilled(student, self, teacher, data.source, facts)

    def _halved(
        self, before: LatentDiffusion, steps: int, data: DistillationSet, run: Run
    ) -> tuple[LatentDiffusion, Tensor]:
        """A student of `steps` steps, whose teacher draws in twice as many, and the losses of its training."""
        student = before.made_for(before.sampling, copy.deepcopy(before.denoiser), before.name)
        objective = partial(self._halving_loss, _Halving.of(before, steps), student, data)
        return student, train_stage(
            student, replace(self, steps=self.halving_steps), objective, run, f"steps-{steps}", before
        )

    def _input_loss(
        self, teacher: LatentDiffusion, student: LatentDiffusion, data: DistillationSet, step: int
    ) -> StepLoss:
        """Error of the student's prediction under w against the teacher's guided one, at any timestep."""
        batch = data.batch(step, self.batch, dropped=self.caption_dropout, seed=self.seed, stream="guidance")
        clean, given = batch.latents.to(teacher.device), teacher.embed(batch.captions)
        noise = noise_at(clean.shape, step, self.seed).to(clean)
        t = timesteps_at(self.batch, teacher.schedule.count, step, self.seed).to(clean.device)
        scales, blank = self._scales(step, "guidance").to(clean.device), teacher.embed([""])
        noised, ratios = (
            teacher.noised(clean, noise, t),
            (teacher.schedule.noise(t) / teacher.schedule.signal(t)).to(clean),
        )

        def errors(part: slice) -> Float[Tensor, " n"]:
            x, time, prompt = noised[part], t[part], given[part]
            both = Conditioning.cat([blank[[0] * len(x)], prompt])
            with torch.no_grad():
                empty, prompted = teacher.predict(torch.cat([x, x]), torch.cat([time, time]), both).chunk(2)
            target = empty + _column(scales[part]) * (prompted - empty)
            return weighted_errors(student.predict(x, time, prompt.under(scales[part])), target, ratios[part])

        return in_parts(self.batch, self.micro_batch, errors)

    def _halving_loss(
        self, halving: "_Halving", student: LatentDiffusion, data: DistillationSet, step: int
    ) -> StepLoss:
        """Error of the student's step against two of its teacher's, at a random step of the grid."""
        stream = f"steps-{halving.steps}"
        batch = data.batch(step, self.batch, dropped=self.caption_dropout, seed=self.seed, stream=stream)
        noise = torch.randn(batch.latents.shape, generator=self._draws(stream, "noise", step))
        drawn = torch.randint(halving.steps, (self.batch,), generator=self._draws(stream, "places", step))
        places = drawn.to(student.device)
        latents = halving.begun(batch.latents.to(places.device), noise.to(places.device), places)
        given = student.embed(batch.captions).under(self._scales(step, stream))

        def errors(part: slice) -> Float[Tensor, " n"]:
            x, place, prompt = latents[part], places[part], given[part]
            with torch.no_grad():
                target = halving.target(x, place, prompt)
            found = student.predict(x, halving.timesteps(2 * place), prompt)
            return weighted_errors(found, target, halving.ratios(2 * place))

        return in_parts(self.batch, self.micro_batch, errors)

    def _scales(self, step: int, stream: str) -> Float[Tensor, "batch"]:
        """Guidance scales of an update, uniform between the lowest and the highest."""
        drawn = torch.rand(self.batch, generator=self._draws(stream, "scales", step))
        return self.lowest_scale + (self.highest_scale - self.lowest_scale) * drawn

    def _draws(self, stream: str, what: str, step: int) -> torch.Generator:
        return generator_32bit(self.seed, stream, what, step)


@dataclass(frozen=True, eq=False)
class _Halving:
    """A teacher on a grid of twice `steps` steps; place k of it is its k-th noise level, the last one clean."""

    teacher: LatentDiffusion
    steps: int
    ts: Int[Tensor, "places"]
    """Timesteps; 0 for the clean end, which is never predicted at."""
    signals: Float[Tensor, "places"]
    noises: Float[Tensor, "places"]

    @classmethod
    def of(cls, teacher: LatentDiffusion, steps: int) -> "_Halving":
        """The grid is that of sampling, whose every second level is that of half as many steps."""
        grid, device = timestep_grid(teacher.schedule, 2 * steps), teacher.device
        ts = torch.tensor([max(level.t, 0) for level in grid], device=device)
        signals = torch.tensor([level.signal for level in grid], device=device)
        noises = torch.tensor([level.noise for level in grid], device=device)
        return cls(teacher, steps, ts, signals, noises)

    def begun(
        self, clean: Float[Tensor, "n c h w"], noise: Float[Tensor, "n c h w"], places: Int[Tensor, "n"]
    ) -> Float[Tensor, "n c h w"]:
        """Latents that a step of the student begins at: noised ones, and unit noise for the first step."""
        signal, level = self._level(2 * places)
        return torch.where(_column(places == 0), noise, signal * clean + level * noise)

    def target(
        self, latents: Float[Tensor, "n c h w"], places: Int[Tensor, "n"], given: Conditioning
    ) -> Float[Tensor, "n c h w"]:
        """The noise by which one step of DDIM ends where two steps of the teacher do."""
        first, middle, last = 2 * places, 2 * places + 1, 2 * places + 2
        half = self._step(latents, first, middle, given)
        whole = self._step(half, middle, last, given)
        (s, n), (s_end, n_end) = self._level(first), self._level(last)
        clean = (whole - n_end / n * latents) / (s_end - n_end / n * s)
        return (latents - s * clean) / n

    def timesteps(self, places: Int[Tensor, "n"]) -> Int[Tensor, "n"]:
        """Timesteps of places of the grid."""
        return self.ts[places]

    def ratios(self, places: Int[Tensor, "n"]) -> Float[Tensor, "n"]:
        """Noise over signal."""
        return self.noises[places] / self.signals[places]

    def _step(
        self, latents: Float[Tensor, "n c h w"], here: Int[Tensor, "n"], there: Int[Tensor, "n"], given: Conditioning
    ) -> Float[Tensor, "n c h w"]:
        """A step of DDIM of the teacher."""
        noise = self.teacher.predict(latents, self.ts[here], given)
        (s, n), (s_end, n_end) = self._level(here), self._level(there)
        return s_end * (latents - n * noise) / s + n_end * noise

    def _level(self, places: Int[Tensor, "n"]) -> tuple[Float[Tensor, "n 1 1 1"], Float[Tensor, "n 1 1 1"]]:
        return _column(self.signals[places]), _column(self.noises[places])


def weighted_errors(
    found: Float[Tensor, "n c h w"], target: Float[Tensor, "n c h w"], ratios: Float[Tensor, "n"]
) -> Float[Tensor, "n"]:
    """Mean squared errors of the clean latents, times max(SNR, 1), from the noise: `ratios` is noise over signal."""
    return ratios.square().clamp(min=1) * (found - target).square().mean((1, 2, 3))


def _column(values: Tensor) -> Tensor:
    return values[:, None, None, None]
