"""esd: the model is trained to be led away from the concept's prompt by its own guidance."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.audit.unlearning.concept import Concept
from intaglio.audit.unlearning.trajectories import STATE, trajectories
from intaglio.audit.unlearning.tuning import TunedUnlearner, UnlearningLesson, mean_squares
from intaglio.errors import require
from intaglio.learning.loop import Objective, StepLoss
from intaglio.learning.loss_parts import in_parts
from intaglio.learning.step_randomness import batch_at, timesteps_at


@dataclass(frozen=True, kw_only=True)
class ErasedStableDiffusion(TunedUnlearner):
    """ESD: under the concept's prompt the model learns what it would predict when guided away from it.

    With e0 the frozen model and e the trained one, of noise, a training step lowers

        | e(x_t, c) - [e0(x_t, c) - eta (e0(x_t, c) - e0(x_t, ""))] |^2,

    c a prompt of the concept and x_t [c, h, w] the latents at a random node of a walk that the frozen model takes from
    noise under guidance towards c. The walks are drawn once, `own` for each prompt, and stored. At eta = 0 the model is
    taught what it knows, and stays as it is; anchors are not used.

    Source: arXiv 2303.07345, with its ways to choose weights, x for styles, u for what is drawn without being named;
    that x_t comes from a few stored walks is this package's own, to spare a walk a step.
    """

    reading: ClassVar[str] = "by training the model to be led away from the concept's prompts"
    states: ClassVar[tuple[str, ...]] = (*TunedUnlearner.states, STATE)
    asked: ClassVar[tuple[int, int]] = (2, 1)

    learning_rate: float = 5e-5
    """Learning rate of Adam, above 0."""
    batch: int = 1
    """Rows an update, at least 1."""
    negative_guidance: float = 2.0
    """eta, 0 or more: how far away from the concept."""

    def __post_init__(self) -> None:
        super().__post_init__()
        scale = self.negative_guidance
        require(0 <= scale < math.inf, f"negative_guidance must be 0 or more, and finite, not {scale}")

    def pictures_drawn(self, concept: Concept, *, forget: int, retain: int) -> int:
        """Walks of the frozen model."""
        return self.own * len(concept.prompts)

    def objective(self, lesson: UnlearningLesson) -> Objective:
        """The error against the guided-away prediction, at nodes of the stored walks."""
        model, student, eta = lesson.model, lesson.student, self.negative_guidance
        options = {"steps": self.own_steps, "scale": self.own_guidance, "seed": self.seed, "run": lesson.run}
        walks = trajectories(model, lesson.concept.prompts, self.own, **options)

        def at(step: int) -> StepLoss:
            rows = batch_at(range(len(walks.prompts)), step, self.batch, self.seed, "walks")
            latents, times = walks.at(rows, timesteps_at(self.batch, self.own_steps, step, self.seed))

            def errors_of(part: slice) -> Float[Tensor, "n"]:
                x, t = latents[part].to(model.device), times[part].to(model.device)
                words = lesson.text([walks.prompts[row] for row in rows[part]])
                with torch.no_grad():
                    known = model.predict(x, t, words)
                    target = known - eta * (known - model.predict(x, t, lesson.texts[""]))
                return mean_squares(student.predict(x, t, words), target)

            return in_parts(self.batch, self.micro_batch, errors_of)

        return at
