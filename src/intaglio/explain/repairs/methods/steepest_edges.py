"""steepest-edges: the edges cut that carry the shortcut, by gradients."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from intaglio.explain.filter_chain import FilterChain, FilterEdge
from intaglio.explain.repairs.edge_cuts import EdgeCutter, Rated, first_order, most_first
from intaglio.explain.repairs.shortcut_pictures import ShortcutPictures
from intaglio.models.scored_network import ScoredClassifier
from intaglio.runs.run import Run


@dataclass(frozen=True, kw_only=True)
class SteepestEdges(EdgeCutter):
    """Gradients: edges that carry the shortcut cut, rated by their first-order effects.

    What an edge adds to its target beyond the mean times the score's gradient there, summed over places; its rise from
    one value of the shortcut to the other, by one pass back for all edges.

    Source: ours, what `cut-edges` is without its interventions.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "edges cut that seem to carry the shortcut by gradients, and one bias moved"

    def rated(
        self, chain: FilterChain, pictures: ShortcutPictures, weights: Float[Tensor, "n"], run: Run, key: str
    ) -> list[Rated]:
        """See the base."""
        found = [
            (FilterEdge(layer, place % one.shape[1], place // one.shape[1]), effect)
            for layer, one in enumerate(first_order(chain, pictures, weights, self.batch))
            for place, effect in enumerate(one.flatten().tolist())
        ]
        return most_first(found)

    def passes(self, scored: ScoredClassifier, pictures: int) -> int:
        """Some a picture."""
        return 40 * pictures
