"""mean-gradient: the candidates whose loss gradients have the largest mean product with those of the targets."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from intaglio.audit.selection.family import ChosenCandidates
from intaglio.audit.selection.gradient_selection import GradientSelector, best
from intaglio.errors import require


@dataclass(frozen=True, kw_only=True)
class MeanGradient(GradientSelector):
    """Mean gradient product: the candidates that lower the targets' loss most by a step.

    With g the sketched gradients of the denoising loss, the score of candidate c is < g_c, mean_t g_t >, and the `size`
    highest are chosen, with equal weights. Directions in which all gradients are long decide, and so do candidates with
    long gradients.

    Source: the mean of TracIn's products at one checkpoint, Pruthi et al., arXiv 2002.08484.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "how far a step of training on it lowers the mean loss of the targets"

    size: int = 10
    """Candidates to choose, from 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.size >= 1, f"size must be at least 1, not {self.size}")

    def among(
        self, candidates: Float[Tensor, "n k"], target: Float[Tensor, "m k"], order: Sequence[int]
    ) -> ChosenCandidates:
        """The highest products with the mean gradient."""
        scores = candidates @ target.mean(0)
        return ChosenCandidates(scores, best(scores, self.size), [1 / self.size] * self.size)
