"""ekfac: influence with the curvature of the loss, approximated layer by layer (EK-FAC)."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from intaglio.audit.influence.example_method import Asked
from intaglio.audit.influence.factor_fit import STAGES, FactorFit, factored
from intaglio.audit.influence.gradient_features import Change, GradientInfluence
from intaglio.audit.influence.kronecker_factors import LayerFactors, whitened
from intaglio.denoising.examples import Examples
from intaglio.errors import require
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.plain_json import digest
from intaglio.runs.run import Run
from intaglio.sampling.calls import Calls


@dataclass(frozen=True, kw_only=True)
class EkFac(GradientInfluence):
    """EK-FAC: the first-order change of the loss without a training picture, by approximate curvature.

    With L the denoising loss of a picture, averaged over T timesteps and noises that all pictures share, and H the
    Gauss-Newton matrix of the training loss,

        tau(q, i) = (1 / n) sum_layers < grad L_q, (H + lambda)^-1 grad L_i >.

    H is taken for block-diagonal by layers. In a layer of weight [o, i] with inputs a and output gradients g, Q_A and
    Q_G are the eigenvectors of E a a^T and E g g^T over pictures and places, V = sum_places g a^T is the gradient of
    one noised picture, and Lambda = E (Q_G^T V Q_A)^2 entry by entry:

        (H + lambda)^-1 U = Q_G [(Q_G^T U Q_A) / (Lambda + lambda)] Q_A^T,    lambda = damping * mean Lambda.

    g are of sqrt(2 / d) < u, output >, u random signs, so that E V V^T is the Gauss-Newton matrix of the mean squared
    error; gradients of the loss itself would give another matrix. Whitened gradients are then sketched as in `trak`.
    Biases, norms and embeddings are left out, and layers with a side above `side`.

    Source: George et al., arXiv 1806.03884, and Grosse et al., arXiv 2308.03296; for diffusion Mlodozeniec et al.,
    arXiv 2410.13850. There g are of targets drawn around the output; signs have the same second moments.
    """

    reading: ClassVar[str] = "how far the loss of the picture asked about would rise without it, to first order"
    unit: ClassVar[str] = "change of the loss"
    differentiated: ClassVar[str] = "loss, whitened by the curvature"
    afterwards: ClassVar[frozenset[str]] = frozenset({"micro_batch"})

    width: int = 16384
    """Numbers k to which a whitened gradient is sketched, from 1; 0 keeps it whole, for at most 200,000 weights."""
    damping: float = 0.1
    """The lambda that is added, as a share of a layer's mean curvature, above 0."""
    draws: int = 2
    """Random signs u of each noised training picture, from 1."""
    side: int = 1024
    """Longest side of the factors of a layer, from 1, in entries: of a convolution channels times the kernel's cells;
    the time for eigenvectors grows with its cube."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.damping < float("inf"), f"damping must be above 0, and finite, not {self.damping}")
        for name in ("draws", "side"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, not {getattr(self, name)}")

    def compared(self, queries: Float[Tensor, "q k"], train: Float[Tensor, "n k"]) -> Float[Tensor, "q n"]:
        """Inner products of whitened gradients, over n."""
        return queries @ train.T / len(train)

    def training_calls(self) -> Calls:
        """Two passes over every training picture: for the eigenvectors, and for the values along them."""
        return Calls(forward=2 * self.draws * self._count, backward=2 * self.draws * self._count)

    def depends(self, train: Iterable[Asked]) -> str:
        """The training set, of which the factors are."""
        return digest(sorted(train))

    def change(self, model: LatentDiffusion, train: Examples, run: Run) -> Change:
        """Whitening by the factors of the training pictures."""
        factors = self._factors(model, train, run)
        return lambda gradients: whitened(factors, gradients, self.damping)

    def forget(self, model: LatentDiffusion, train: Iterable[Asked], queries: Iterable[Asked], run: Run) -> None:
        """Drops gradients and factors."""
        train = list(train)
        super().forget(model, train, queries, run)
        for stage in STAGES:
            run.drop_state(self._state(model, train, stage))

    def sizes(self, model: LatentDiffusion) -> dict[str, int]:
        """Entries of the chosen weights that have factors. Raises `BadInput` where there is none."""
        return factored(model, super().sizes(model), self.side, self.weights)

    def _factors(self, model: LatentDiffusion, train: Examples, run: Run) -> dict[str, LayerFactors]:
        noises = list(self.noised(model, tuple(train.latents.shape[1:])))
        fit = FactorFit(list(self.sizes(model)), noises, self.draws, self.seed, self.name)
        states = {stage: self._state(model, train.asked, stage) for stage in STAGES}
        return fit(model, train.asked, train.latents, states, run)

    def _state(self, model: LatentDiffusion, train: Iterable[Asked], stage: str) -> str:
        """The name of the stored sums; neither damping nor width has a part in them."""
        own = [self.weights, self.timesteps, self.noises, self.seed, self.draws, self.side]
        return f"curvature/{stage}-{digest([own, model.fingerprint, self.depends(train)])[:32]}"
