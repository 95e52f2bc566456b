"""trak: the inner product of projected loss gradients, whitened by those of the training set."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from intaglio.audit.influence.damped_regression import damped_weights, relative_damping
from intaglio.audit.influence.gradient_features import GradientInfluence
from intaglio.errors import require


@dataclass(frozen=True, kw_only=True)
class Trak(GradientInfluence):
    """TRAK: how much of a query's loss gradient the gradient of a training picture makes up.

    With L the denoising loss of a picture under its prompt, averaged over T timesteps and noises that all pictures
    share, P a sparse sketch to k numbers, phi = P grad L and Phi [n, k] those of the training pictures,

        tau(q, i) = phi_q (Phi^T Phi + lambda I)^-1 phi_i,    lambda = damping * mean_i ||phi_i||^2.

    These are the weights of the ridge regression of the query's gradient on the training pictures': without unit, and
    near 1 for a training picture asked about itself. A picture whose removal raises the query's loss
    has a positive one. As the output is the loss itself, the factor d loss / d output is 1.

    Source: Park et al., arXiv 2303.14186; for diffusion as in Zheng et al., arXiv 2311.00500. Published: averages over
    several trainings, noises by the place in the batch, and the lambda, of 27, that does best on the very test.
    """

    reading: ClassVar[str] = (
        "the weight of its gradient in the mixture of all training pictures’ that comes closest to the gradient of the "
        "picture asked about"
    )
    unit: ClassVar[str] = "none; near 1 where the two gradients are one"

    damping: float = 0.1
    """Lambda as a share of the mean squared norm of the training gradients, above 0: a large one leaves the plain
    products of `grad-dot`. 0.1 does as well on the embedded model as what is tuned on other
    retrainings (`intaglio bench influence`)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.damping < float("inf"), f"damping must be above 0, and finite, not {self.damping}")

    def compared(self, queries: Float[Tensor, "q k"], train: Float[Tensor, "n k"]) -> Float[Tensor, "q n"]:
        """The weights of the regression."""
        return damped_weights(queries, train, relative_damping(train, self.damping))
