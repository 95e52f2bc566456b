"""random-edges: random edges cut."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.explain.filter_chain import FilterChain
from intaglio.explain.repairs.edge_cuts import EdgeCutter, Rated, every_edge, first_order
from intaglio.explain.repairs.shortcut_pictures import ShortcutPictures
from intaglio.models.scored_network import ScoredClassifier
from intaglio.randomness import generator
from intaglio.runs.run import Run


@dataclass(frozen=True, kw_only=True)
class RandomEdges(EdgeCutter):
    """Chance: random edges cut, as many as leave the smallest gap, and one bias moved.

    It may be that none are cut.

    Source: ours, a control of how much a moved bias and a choice among changes do by themselves.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "random edges cut, and one bias moved"

    def rated(
        self, chain: FilterChain, pictures: ShortcutPictures, weights: Float[Tensor, "n"], run: Run, key: str
    ) -> list[Rated]:
        """See the base; the effects are of first order."""
        slopes = first_order(chain, pictures, weights, self.batch)
        edges = list(every_edge(chain))
        order = torch.randperm(len(edges), generator=generator(self.seed, "random edges")).tolist()
        return [(edges[k], float(slopes[edges[k].layer][edges[k].target, edges[k].source])) for k in order]

    def passes(self, scored: ScoredClassifier, pictures: int) -> int:
        """Some a picture."""
        return 40 * pictures
