"""attribution-patching: first-order effects by gradients."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from intaglio.explain.components.family import ComponentPatcher
from intaglio.explain.components.patch_points import PatchPoint


@dataclass(frozen=True, kw_only=True)
class AttributionPatching(ComponentPatcher):
    """Attribution patching: each component's change between prompts, times the gradient.

    sum over places of (a_clean - a_corrupted) dm/da, with the gradient of the metric m in the corrupted run: the exact
    effect where m is linear in a, and the slope at one point elsewhere.

    Source: Syed et al., arXiv 2310.10348.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "the component's change times the gradient"

    def effects(self, point: PatchPoint, chosen: Sequence[int]) -> list[Float[Tensor, "_"]]:
        """See the family."""
        slopes = point.slopes()
        return [point.shares(k, slopes[k]) for k in chosen]

    def passes(self, components: Sequence[int]) -> int:
        """Three forward, of which two are the point's, and one back."""
        return 4
