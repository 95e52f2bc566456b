"""relp: first-order effects by coefficients of relevance propagation in place of gradients."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from intaglio.explain.components.family import ComponentPatcher
from intaglio.explain.components.patch_points import PatchPoint
from intaglio.explain.components.relevance_rules import USUAL, RelevanceRules, RuleName


@dataclass(frozen=True, kw_only=True)
class RelevancePatching(ComponentPatcher):
    """RelP: each component's change between the prompts, times its coefficient of relevance.

    sum over places of (a_clean - a_corrupted) c, where c is the derivative of the metric in the corrupted run, taken by
    rules of layer-wise relevance propagation: a normalisation's scale is constant, an activation phi(x) is x times the
    constant phi(x) / x, a product gives half to each factor, all else keeps its gradient. A gradient is the slope at
    one point, which saturated activations and normalisations make a poor guide to a change of this size; a coefficient
    is the slope of the line through 0.

    Biases and what comes of the timestep are sources beside the components, so that effects need not add up.

    Source: Rezaei Jafari et al., arXiv 2508.21258, with the rules that the authors' code has on by default; there it is
    for language models, here for denoisers.
    """

    reading: ClassVar[str] = "the component's change times its coefficient of relevance"

    rules: tuple[RuleName, ...] = USUAL
    """Rules that are kept: normalisation, activation, product, attention; none is attribution patching."""

    def effects(self, point: PatchPoint, chosen: Sequence[int]) -> list[Float[Tensor, "_"]]:
        """See the family."""
        slopes = point.slopes(RelevanceRules(self.rules))
        return [point.shares(k, slopes[k]) for k in chosen]

    def passes(self, components: Sequence[int]) -> int:
        """Three forward, of which two are the point's, and one back."""
        return 4
