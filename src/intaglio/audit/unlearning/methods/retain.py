"""retain: the model is trained on what is to stay, and forgets what it is not shown."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from intaglio.audit.unlearning.family import PictureSet
from intaglio.audit.unlearning.tuning import TunedUnlearner, UnlearningLesson
from intaglio.learning.loop import Objective, StepLoss
from intaglio.learning.loss_parts import in_parts


@dataclass(frozen=True, kw_only=True)
class RetainTuning(TunedUnlearner):
    """Tuning on the rest: plain training on pictures of what is to stay.

    A training step lowers L(x, p), the mean squared denoising error of a kept picture x under its prompt p. Nothing
    names the concept: what is lost of it is what training on other pictures loses anyway.

    Source: the usual baseline of studies of unlearning, as in Golatkar et al., arXiv 1911.04933.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "by training the model on what is to stay, and on nothing of the concept"
    learns_from: ClassVar[tuple[PictureSet, ...]] = ("keep",)

    modules: Literal["x", "x-strict", "u", "all"] = "all"
    """Weights that are trained: x, the cross-attention; x-strict, its keys and values; u, linear layers and
    convolutions outside it; all."""

    def objective(self, lesson: UnlearningLesson) -> Objective:
        """The denoising loss of what is to stay."""
        student = lesson.student

        def at(step: int) -> StepLoss:
            every = lesson.noised("keep", step, self.batch, self.seed)

            def errors_of(part: slice) -> Float[Tensor, "n"]:
                rows = every.part(part, student.device)
                return student.error(rows.latents, rows.noise, rows.t, lesson.text(rows.captions))

            return in_parts(self.batch, self.micro_batch, errors_of)

        return at
