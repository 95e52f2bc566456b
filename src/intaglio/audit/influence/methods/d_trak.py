"""d-trak: TRAK with the gradients of the mean squared prediction in place of the loss's."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float, Int
from torch import Tensor

from intaglio.audit.influence.damped_regression import damped_weights, relative_damping
from intaglio.audit.influence.gradient_features import GradientInfluence
from intaglio.errors import require
from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion


@dataclass(frozen=True, kw_only=True)
class DTrak(GradientInfluence):
    """D-TRAK: as trak, with the gradients of the mean squared predicted noise, not of the loss.

    With f = mean_{t, eps} (1 / d) ||eps_theta(x_t, t)||^2 over T timesteps and noises that all pictures share, d the
    entries of a latent, P a sparse sketch to k numbers, phi = P grad f for training pictures and queries alike, and Phi
    [n, k] those of the training pictures,

        tau(q, i) = phi_q (Phi^T Phi + lambda I)^-1 phi_i,    lambda = damping * mean_i ||phi_i||^2.

    The published finding, without a theory for it, is that these rank training pictures better by models trained
    again than the loss's own gradients do; a high number counts as one whose picture lowers the query's loss.

    Source: Zheng et al., "Intriguing Properties of Data Attribution on Diffusion Models", arXiv 2311.00500. Published:
    32,768 numbers, lambda chosen on the test itself, noises by the place in the batch.
    """

    reading: ClassVar[str] = (
        "the weight of its gradient, that of the model’s squared prediction, in the mixture of all training pictures’ "
        "that comes closest to the gradient of the picture asked about"
    )
    unit: ClassVar[str] = "none; near 1 where the two gradients are one"
    differentiated: ClassVar[str] = "squared prediction"

    damping: float = 0.1
    """Lambda as a share of the mean squared norm of the training gradients, above 0; 0.1 does as well on the embedded
    model as what is tuned on other retrainings (`intaglio bench influence`)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.damping < float("inf"), f"damping must be above 0, and finite, not {self.damping}")

    def numbers(
        self,
        model: LatentDiffusion,
        latents: Float[Tensor, "m c h w"],
        noise: Float[Tensor, "m c h w"],
        t: Int[Tensor, "m"],
        text: Conditioning,
    ) -> Float[Tensor, "m"]:
        """The mean square of the predicted noise."""
        return model.predict(model.noised(latents, noise, t), t, text).square().flatten(1).mean(1)

    def compared(self, queries: Float[Tensor, "q k"], train: Float[Tensor, "n k"]) -> Float[Tensor, "q n"]:
        """The weights of the regression."""
        return damped_weights(queries, train, relative_damping(train, self.damping))
