"""Selection by gradients: methods that choose from sketches of the candidates' and the targets' loss gradients."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from intaglio.audit.influence.gradient_features import GradientFeatures
from intaglio.audit.selection.family import ChosenCandidates, Selector
from intaglio.denoising.examples import Examples
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.run import Run


@dataclass(frozen=True, kw_only=True)
class GradientSelector(GradientFeatures, Selector):
    """A choice that follows from the gradient of each picture by itself."""

    @abstractmethod
    def among(
        self, candidates: Float[Tensor, "n k"], target: Float[Tensor, "m k"], order: Sequence[int]
    ) -> ChosenCandidates:
        """The choice, from sketched gradients; `order` has the targets' places by their content."""

    def chosen(self, model: LatentDiffusion, candidates: Examples, target: Examples, run: Run) -> ChosenCandidates:
        """The gradients of all different pictures, and what the method makes of them."""
        order = sorted(range(len(target)), key=lambda i: target.asked[i])
        return self.among(*self.features(model, candidates, target, run), order)


def best(scores: Float[Tensor, "n"], size: int) -> list[int]:
    """The places of the highest `size` scores, highest first; equal ones in their own order."""
    values = scores.tolist()
    return sorted(range(len(values)), key=lambda i: (-values[i], i))[:size]
