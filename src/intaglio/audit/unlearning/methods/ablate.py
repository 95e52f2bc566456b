"""ablate: under the concept's prompt the model is trained to predict what it predicts under the anchor's."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.audit.unlearning.family import PictureSet
from intaglio.audit.unlearning.tuning import TunedUnlearner, UnlearningLesson, mean_squares
from intaglio.errors import require
from intaglio.learning.loop import Objective, StepLoss
from intaglio.learning.loss_parts import in_parts


@dataclass(frozen=True, kw_only=True)
class ConceptAblation(TunedUnlearner):
    """Concept ablation: on pictures of the anchor, the concept's prompt is taught to mean the anchor.

    On x_t, noised pictures that the model drew for the anchor c*, a training step lowers for `--target model`

        | e(x_t, c) - T(x_t, c*) |^2 + prior_weight L(x, c*),

    with e the trained prediction of noise, c the concept's prompt, L the usual denoising loss, and T the frozen model,
    or with `--teacher moving` the trained one itself, through which no gradient goes. `--target noise` takes L(x, c)
    in place of the first term: pictures of the anchor under the concept's words.

    Source: arXiv 2303.13516; its published code takes the moving teacher.
    """

    reading: ClassVar[str] = "by training the model to draw the anchor under the concept's prompts"
    learns_from: ClassVar[tuple[PictureSet, ...]] = ("anchor",)
    asked: ClassVar[tuple[int, int]] = (1, 2)

    own: int = 32
    """Pictures that the model draws for each anchor, at least 1."""
    target: Literal["model", "noise"] = "model"
    """Target of the concept's prompt: the prediction under the anchor, or the noise in pictures of the anchor."""
    teacher: Literal["frozen", "moving"] = "frozen"
    """Network that predicts under the anchor: the model as it was given, or the one that is trained."""
    prior_weight: float = 1.0
    """Weight of the denoising loss of the anchor's pictures under the anchor, 0 or more."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.target in ("model", "noise"), f"target must be model or noise, not {self.target!r}")
        require(self.teacher in ("frozen", "moving"), f"teacher must be frozen or moving, not {self.teacher!r}")
        weight = self.prior_weight
        require(0 <= weight < math.inf, f"prior_weight must be 0 or more, and finite, not {weight}")

    def objective(self, lesson: UnlearningLesson) -> Objective:
        """The error against the anchor's prediction, with the loss that keeps the anchor."""
        model, student = lesson.model, lesson.student
        teacher = model if self.teacher == "frozen" else student
        of_anchor: dict[str, list[str]] = {}
        for prompt, anchor in lesson.concept.pairs:
            of_anchor.setdefault(anchor, []).append(prompt)

        def at(step: int) -> StepLoss:
            every = lesson.noised("anchor", step, self.batch, self.seed)
            # The prompts of an anchor take turns.
            prompts = [of_anchor[one][(step + k) % len(of_anchor[one])] for k, one in enumerate(every.captions)]

            def errors_of(part: slice) -> Float[Tensor, "n"]:
                rows = every.part(part, model.device)
                words, anchor = lesson.text(prompts[part]), lesson.text(rows.captions)
                clean = (rows.latents, rows.noise, rows.t)
                if self.target == "noise":
                    errors = student.error(*clean, words)
                else:
                    x = model.noised(*clean)
                    with torch.no_grad():
                        target = teacher.predict(x, rows.t, anchor)
                    errors = mean_squares(student.predict(x, rows.t, words), target)
                if not self.prior_weight:
                    return errors
                return errors + self.prior_weight * student.error(*clean, anchor)

            return in_parts(self.batch, self.micro_batch, errors_of)

        return at
