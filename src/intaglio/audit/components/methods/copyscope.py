"""copyscope: the Shapley value of each component, from drawings with every set of them switched on."""

from dataclasses import dataclass
from typing import ClassVar

from intaglio.audit.components.family import ComponentAudit
from intaglio.errors import require
from intaglio.metrics.coalition_weights import CoalitionWeights, sampled_shapley_weights, shapley_weights


@dataclass(frozen=True, kw_only=True)
class CopyScope(ComponentAudit):
    """Shapley values of the components of a drawing for its likeness with target pictures.

    The effect of component i is the mean of v(S with i) - v(S) over all orders in which the components are switched on,
    S being those before i:

        phi_i = sum over S without i of |S|! (m - |S| - 1)! / m! (v(S + i) - v(S))

    Effects add up to v(all) - v(none); two components that do the same share what they do, where switching off one of
    them changes nothing. Up to `exact` components every set is drawn, 2^m of them; above, `orders` random orders, each
    beside its reverse.

    Source: CopyScope (arXiv 2311.12847) names Shapley values of a diffusion workflow's components by the Fréchet
    distance. Kernel distance, intervals by seeds and the refusal of shares where nothing is to be shared are of this
    package.
    """

    reading: ClassVar[str] = "what it adds to the likeness, averaged over all orders of switching components on"

    exact: int = 8
    """Components up to which every set is drawn, 2 to 12."""
    orders: int = 200
    """Random orders above that, an even number from 4."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(2 <= self.exact <= 12, f"exact must be 2 to 12, not {self.exact}")
        require(self.orders >= 4 and self.orders % 2 == 0, f"orders must be even and at least 4, not {self.orders}")

    def weights(self, components: int) -> CoalitionWeights:
        """Of all sets of components, or of those that the orders pass through."""
        if components <= self.exact:
            return shapley_weights(components)
        return sampled_shapley_weights(components, self.orders, self.seed)
