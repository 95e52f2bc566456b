"""interventions: edges cut one by one, and the score measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.explain.filter_chain import FilterChain, FilterEdge, Pictures
from intaglio.explain.paths.family import PathFinder


@dataclass(frozen=True, kw_only=True)
class EdgeInterventions(PathFinder):
    """Interventions on edges: how far the score falls with each one cut.

    score(x) - score(x; do(i -> j)), where do(i -> j) gives filter j, in place of filter i's map, its mean over the
    pictures of other classes, before j's normalisation; all other filters still get i's own map.

    Source: ours. Published work on causal paths through filters led to it; its equations could not be read, and none
    of its figures are claimed.
    """

    reading: ClassVar[str] = "measured: the fall of the score when the edge is cut"
    at_once: ClassVar[int] = 50

    def effects(self, chain: FilterChain, edges: Sequence[FilterEdge], pixels: Pictures) -> Float[Tensor, "n e"]:
        """See the family."""
        whole = chain.scores(pixels)
        return torch.stack([whole - chain.without(edge, pixels) for edge in edges], 1)

    def passes(self, pictures: int, layers: int) -> int:
        """One a picture and edge, and one of the picture as it is."""
        return layers * pictures * (1 + self.screened)
