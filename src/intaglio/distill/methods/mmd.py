"""MMD distillation: a student of few steps, whose pictures as a whole are led to those of the set."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from types import MappingProxyType
from typing import Any, ClassVar, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.distill.discrepancy import Kernel, squared_discrepancy
from intaglio.distill.distillation_set import DistillationSet
from intaglio.distill.distilled import Distilled, distilled
from intaglio.distill.family import Distiller
from intaglio.distill.heads import refuse_no_middle
from intaglio.distill.set_features import FeatureSource, SetFeatures, network_features
from intaglio.distill.stage import train_stage
from intaglio.errors import BadInput, require
from intaglio.learning.loop import StepLoss
from intaglio.learning.loss_parts import last_mean
from intaglio.models.diffusion.baked_sampling import BakedSampling
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.randomness import generator_32bit
from intaglio.runs.run import Run
from intaglio.sampling.calls import Calls
from intaglio.sampling.grid import timestep_grid
from intaglio.sampling.step import ddim_step

STATE = "student"


@dataclass(frozen=True, kw_only=True)
class MMDDistillation(Distiller):
    """A student of few steps, led by the maximum mean discrepancy of its pictures from the set's.

    All steps of DDIM are drawn from unit noise, and the gradient of the unbiased MMD² goes back through all of them. No
    pair of a noise and its picture is asked for: it is the law of the features that is led. A step is one call, without
    guidance: where the set was drawn under guidance, the student learns to draw like that by itself.

    Features are means over places of the teacher's own middle block, at `feature_timestep` and the empty prompt, so
    that no decoder lies in the gradient, and no judge of pictures has led it; or, as is published with Inception or
    CLIP, descriptors of the decoded pictures by the embedded similarity encoder, which then is no judge of the student
    any more. Either way each is taken less its mean over the set and in its deviations. The steps are those of the
    evenly spaced grid of sampling, which begins at the schedule's last timestep, where the published one begins at 800.

    Source: arXiv 2301.07969.
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
    features: FeatureSource = "middle"
    """`middle` are those of the teacher's middle block; `encoder` are the embedded encoder's of decoded pictures."""
    feature_timestep: int = 50
    """Timestep at which features of the middle block are taken, 0 to the schedule's last."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.batch >= 2, f"batch must be at least 2, not {self.batch}: a discrepancy is over pairs")
        require(1 <= self.student_steps <= 1000, f"student_steps must be 1 to 1000, not {self.student_steps}")
        sources = get_args(FeatureSource)
        require(self.features in sources, f"features must be one of {', '.join(sources)}, not {self.features!r}")
        require(self.feature_timestep >= 0, f"feature_timestep must be 0 or more, not {self.feature_timestep}")

    @property
    def states(self) -> tuple[str, ...]:
        """That of the student."""
        return (STATE,)

    def check(self, teacher: LatentDiffusion) -> None:
        """Raises `BadInput` for a teacher that it cannot distil, and for a timestep that there is not."""
        super().check(teacher)
        timestep_grid(teacher.schedule, self.student_steps)
        if self.features == "middle":
            refuse_no_middle(teacher)
        if self.feature_timestep >= teacher.schedule.count:
            last = teacher.schedule.count - 1
            raise BadInput(f"--feature-timestep must be 0 to {last} for {teacher.name}, not {self.feature_timestep}")

    def planned(self, teacher: LatentDiffusion) -> Calls:
        """The student's steps, again for the gradient where memory is short, and features of the middle block.

        These of the set, one call each, come to it; neither decoder nor encoder is counted.
        """
        again = 1 if self.micro_batch is None or self.micro_batch >= self.batch else 2
        of_features = 1 if self.features == "middle" else 0
        each = Calls(again * self.student_steps + 2 * of_features, self.student_steps + of_features)
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
            real = SetFeatures.of(network_features(teacher, self.features, self.feature_timestep), data.latents)
            losses = train_stage(student, self, partial(self._loss, student, real, data), run, STATE, teacher)
        return distilled(student, self, teacher, data.source, {"discrepancy": last_mean(losses)})

    def _loss(self, student: LatentDiffusion, real: SetFeatures, data: DistillationSet, step: int) -> StepLoss:
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

    def _led(self, drawn: list[Tensor], real: SetFeatures) -> tuple[float, list[Tensor]]:
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
            t = now.batch(len(x), x.device)
            x = ddim_step(x, student.predict(x, t, given), now, then)
        return x
