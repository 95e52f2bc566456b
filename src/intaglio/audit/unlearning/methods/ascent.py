"""ascent: the denoising loss of pictures of the concept is raised."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from intaglio.audit.unlearning.family import PictureSet
from intaglio.audit.unlearning.tuning import TunedUnlearner, UnlearningLesson
from intaglio.learning.loop import Objective, StepLoss
from intaglio.learning.loss_parts import in_parts


@dataclass(frozen=True, kw_only=True)
class GradientAscent(TunedUnlearner):
    """Gradient ascent: the model is trained to denoise pictures of the concept worse.

    A training step lowers -L(x, c), with L the mean squared denoising error of a picture x under its prompt c. The loss
    has no lower bound, so that too many steps spoil the model for every prompt.

    Source: the usual baseline of studies of unlearning, as in Golatkar et al., arXiv 1911.04933.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "by training the model to denoise pictures of the concept worse"
    learns_from: ClassVar[tuple[PictureSet, ...]] = ("concept",)

    steps: int = 50
    """Updates, at least 1."""
    clip: float | None = 1.0
    """Largest norm of the gradient over all trained weights; None leaves it as it is."""
    modules: Literal["x", "x-strict", "u", "all"] = "all"
    """Weights that are trained: x, the cross-attention; x-strict, its keys and values; u, linear layers and
    convolutions outside it; all."""

    def objective(self, lesson: UnlearningLesson) -> Objective:
        """The negative denoising loss."""
        student = lesson.student

        def at(step: int) -> StepLoss:
            every = lesson.noised("concept", step, self.batch, self.seed)

            def errors_of(part: slice) -> Float[Tensor, "n"]:
                rows = every.part(part, student.device)
                return -student.error(rows.latents, rows.noise, rows.t, lesson.text(rows.captions))

            return in_parts(self.batch, self.micro_batch, errors_of)

        return at
