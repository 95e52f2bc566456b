"""grad-dot: the inner product of the loss gradients of a query and of a training picture."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from intaglio.audit.influence.gradient_features import GradientInfluence


@dataclass(frozen=True, kw_only=True)
class GradDot(GradientInfluence):
    """Gradient product: how far a step down a training picture's loss lowers the query's.

    With L the denoising loss of a picture under its prompt, averaged over T timesteps and noises that all pictures
    share, and P a sparse sketch to k numbers that keeps inner products on average,

        tau(q, i) = < P grad L_q, P grad L_i >,

    in units of loss squared over weights squared: a step of size s down the gradient of i changes the query's loss by
    -s tau to first order, and the removal of that step by s tau. It takes the curvature of the loss for the same in
    all directions, so that pictures with long gradients stand out for every query.

    Source: TracIn, Pruthi et al., arXiv 2002.08484, at the last checkpoint alone.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "how far a step of training on it lowers the loss of the picture asked about"
    unit: ClassVar[str] = "change of the loss by a step of size 1 along its gradient"

    def compared(self, queries: Float[Tensor, "q k"], train: Float[Tensor, "n k"]) -> Float[Tensor, "q n"]:
        """Inner products."""
        return queries @ train.T
