"""MMD distillation: a student of few steps, whose pictures as a whole are led to those of the set."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.distill.discrepancy import Kernel, squared_discrepancy
from intaglio.distill.distillation_set import DistillationSet
from intaglio.distill.distilled import Distilled, distilled
from intaglio.distill.family import Distiller
from intaglio.distill.heads import middle_features
from intaglio.distill.stage import last_mean, train_stage
from intaglio.errors import BadInput, require
from intaglio.learning.loop import StepLoss
from intaglio.models.diffusion.baked_sampling import BakedSampling
from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.randomness import generator_32bit
from intaglio.runs.run import Run
from intaglio.sampling.calls import Calls
from intaglio.sampling.grid import timestep_grid
from intaglio.sampling.step import ddim_step

STATE = "student"
CHUNK = 32
"""Latents of the set whose features are taken at a time."""


@dataclass(frozen=True, kw_only=True)
class MMDDistillation(Distiller):
    """A student of few steps, led by the maximum mean discrepancy of its pictures from the set's.

    All steps of DDIM are drawn from unit noise, and the gradient of the unbiased MMD² goes back through all of them. No
    pair of a noise and its picture is asked for: it is the law of the features that is led. A step is one call, without
    guidance: where the set was drawn under guidance, the student learns to draw like that by itself.

    Features are means over places of the teacher's own middle block, at `feature_timestep` and the empty prompt, each
    less its mean over the set and in its deviations; published are those of Inception or CLIP. So no decoder lies in
    the gradient, and no judge of pictures has led it.

    Source: arXiv 2301.07969, with features of latents.
    """

    bench: ClassVar[Mapping[str, Any]] = MappingProxyType({"steps": 150, "batch": 32, "learning_rate": 5e-5})

    steps: int = 300
    """Updates of the student, at least 1."""
    batch: int = 64
    """Pictures an update, at least 2."""
    learning_rate: float = 5e-6
    """Highest learning rate of AdamW, above 0."""
    clip: float | None = 0.5
    """Largest norm of the gradient over all trained weights; None leaves it as it is."""
    student_steps: int = 5
    """Steps of DDIM of the student, 1 to 1000."""
    kernel: Kernel = "polynomial"
    """`polynomial` is (x·y / d + 1)³, `rbf` is exp(-|x - y|² / (2 d)), for d features."""
    feature_timestep: int = 50
    """Timestep at which features are taken, 0 to the schedule's last."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.batch >= 2, f"batch must be at least 2, not {self.batch}: a discrepancy is over pairs")
        require(1 <= self.student_steps <= 1000, f"student_steps must be 1 to 1000, not {self.student_steps}")
        require(self.feature_timestep >= 0, f"feature_timestep must be 0 or more, not {self.feature_timestep}")

    @property
    def states(self) -> tuple[str, ...]:
        """That of the student."""
        return (STATE,)

    def check(self, teacher: LatentDiffusion) -> None:
        """Raises `BadInput` for a teacher that it cannot distil, and for a timestep that there is not."""
        super().check(teacher)
        timestep_grid(teacher.schedule, self.student_steps)
        if self.feature_timestep >= teacher.schedule.count:
            last = teacher.schedule.count - 1
            raise BadInput(f"--feature-timestep must be 0 to {last} for {teacher.name}, not {self.feature_timestep}")

    def planned(self, teacher: LatentDiffusion) -> Calls:
        """The student's steps, again for the gradient where memory is short, and features with their gradient.

        Those of the set, one call each, come to it.
        """
        again = 1 if self.micro_batch is None or self.micro_batch >= self.batch else 2
        each = Calls(forward=again * self.student_steps + 2, backward=self.student_steps + 1)
        return each.times(self.batch * self.steps)

    def __call__(self, teacher: LatentDiffusion, data: DistillationSet, *, run: Run = Run.none()) -> Distilled:
        """Trains the student; see the family. Raises `BadInput` too for a set of one latents."""
        self.check(teacher)
        if len(data.latents) < 2:
            raise BadInput("a discrepancy is over pairs; give two pictures or more")
        grid = timestep_grid(teacher.schedule, self.student_steps)
        sampling = BakedSampling(tuple(level.t for level in grid[:-1]), "ddim", "baked", (1.0, 1.0))
        student = teacher.made_for(sampling, copy.deepcopy(teacher.denoiser), f"{teacher.name}-mmd")
        with teacher.frozen():
            real = _Features.of(teacher, data, self.feature_timestep)
            losses = train_stage(student, self, partial(self._loss, student, real, data), run, STATE)
        return distilled(student, self, teacher, data.source, {"discrepancy": last_mean(losses)})

    def _loss(self, student: LatentDiffusion, real: "_Features", data: DistillationSet, step: int) -> StepLoss:
        """MMD² of a batch, with its gradients: of the features, of the latents, of all steps."""
        captions = data.batch(step, self.batch, dropped=0.0, seed=self.seed, stream=STATE).captions
        source = generator_32bit(self.seed, STATE, "noise", step)
        noise = torch.randn((self.batch, *data.latents.shape[1:]), generator=source).to(student.device)
        size = self.micro_batch or self.batch
        parts = [slice(first, min(first + size, self.batch)) for first in range(0, self.batch, size)]
        whole = len(parts) == 1  # with several the graph of one at a time is in memory
        with torch.set_grad_enabled(whole):
            drawn = [self._drawn(student, noise[part], captions[part]) for part in parts]
        loss, gradients = self._led([latents.detach() for latents in drawn], real)
        for part, latents, gradient in zip(parts, drawn, gradients, strict=True):
            (latents if whole else self._drawn(student, noise[part], captions[part])).backward(gradient)
        return StepLoss(loss)

    def _led(self, drawn: list[Tensor], real: "_Features") -> tuple[float, list[Tensor]]:
        """MMD² of drawn latents, and its gradient in each part of them."""
        with torch.no_grad():
            found = torch.cat([real(latents) for latents in drawn])
        found.requires_grad_(True)
        with torch.enable_grad():
            loss = squared_discrepancy(found, real.known, self.kernel)
        (of_features,) = torch.autograd.grad(loss, found)
        gradients, first = [], 0
        for latents in drawn:
            leaf = latents.clone().requires_grad_(True)
            with torch.enable_grad():
                features = real(leaf)
            gradients.append(torch.autograd.grad(features, leaf, of_features[first : first + len(leaf)])[0])
            first += len(leaf)
        return float(loss.detach()), gradients

    def _drawn(
        self, student: LatentDiffusion, noise: Float[Tensor, "n c h w"], captions: list[str]
    ) -> Float[Tensor, "n c h w"]:
        """Clean latents by all steps of DDIM from unit noise."""
        given, x = student.embed(captions), noise
        for now, then in pairwise(timestep_grid(student.schedule, self.student_steps)):
            t = torch.full((len(x),), now.t, device=x.device)
            x = ddim_step(x, student.predict(x, t, given), now, then)
        return x


class _Features(NamedTuple):
    """Features of latents by a teacher, and those of the set."""

    teacher: LatentDiffusion
    timestep: int
    blank: Conditioning
    mean: Float[Tensor, "d"]
    deviation: Float[Tensor, "d"]
    known: Float[Tensor, "m d"]
    """Of the set."""

    @classmethod
    @torch.no_grad()
    def of(cls, teacher: LatentDiffusion, data: DistillationSet, timestep: int) -> "_Features":
        """The features of a set, and of others in terms of its mean and its deviations."""
        blank = teacher.embed([""])
        parts = [_middle(teacher, part.to(teacher.device), timestep, blank) for part in data.latents.split(CHUNK)]
        found = torch.cat(parts)
        mean, deviation = found.mean(0), found.std(0).clamp(min=1e-6)
        return cls(teacher, timestep, blank, mean, deviation, (found - mean) / deviation)

    def __call__(self, latents: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        """Features of clean latents; differentiable where gradients are on."""
        return (_middle(self.teacher, latents, self.timestep, self.blank) - self.mean) / self.deviation


def _middle(
    teacher: LatentDiffusion, latents: Float[Tensor, "n c h w"], timestep: int, blank: Conditioning
) -> Float[Tensor, "n d"]:
    t = torch.full((len(latents),), timestep, device=latents.device)
    return middle_features(teacher, latents, t, blank[[0] * len(latents)]).float().mean((2, 3))
