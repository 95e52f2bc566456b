"""gradient-edges: the fall of the score without an edge, by gradients."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.explain.filter_chain import FilterChain, FilterEdge, Pictures
from intaglio.explain.paths.family import PathFinder


@dataclass(frozen=True, kw_only=True)
class GradientEdges(PathFinder):
    """Gradients of edges: what each adds to its target, times the score's gradient there.

    sum over places of ds/dz_j (W_ji * (a_i - mean a_i)), with the target's output z_j and the source's map a_i: the
    first order of the fall of the score, by one pass back for all edges.

    Source: ours, a first-order estimate of `interventions`; attribution of edges by gradients has no single source.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "estimated: what the edge adds to its target, times the score's gradient there"
    at_once: ClassVar[int] = 100_000

    def effects(self, chain: FilterChain, edges: Sequence[FilterEdge], pixels: Pictures) -> Float[Tensor, "n e"]:
        """See the family."""
        slopes = chain.slopes(pixels)
        return torch.stack([slopes[one.layer][:, one.target, one.source] for one in edges], 1)

    def passes(self, pictures: int, layers: int) -> int:
        """One a picture and layer, and one back."""
        return 2 * layers * pictures
