"""cut-edges: the edges cut that carry the shortcut, by interventions."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.errors import require
from intaglio.explain.filter_chain import FilterChain, FilterEdge
from intaglio.explain.repairs.edge_cuts import EdgeCutter, Rated, first_order, most_first
from intaglio.explain.repairs.shortcut_pictures import ShortcutPictures
from intaglio.models.scored_network import ScoredClassifier
from intaglio.runs.run import Run

KIND, AT_ONCE = "edges", 50
"""Of the records, and edges of each."""


@dataclass(frozen=True, kw_only=True)
class CutEdges(EdgeCutter):
    """Interventions: edges that carry the shortcut cut, each rated by a cut of its own.

    Of each layer the edges of the largest first-order effects are cut one by one, for one target alone and before its
    normalisation, and the fall of the gap is measured; the others stay.

    Source: ours, after the idea of published work on causal paths through filters, whose equations could not be read;
    none of its figures are claimed.
    """

    reading: ClassVar[str] = "edges cut that were measured to carry the shortcut, and one bias moved"

    screened: int = 200
    """Edges of each layer that are cut by themselves and measured, from 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.screened >= 1, f"screened must be at least 1, not {self.screened}")

    def rated(
        self, chain: FilterChain, pictures: ShortcutPictures, weights: Float[Tensor, "n"], run: Run, key: str
    ) -> list[Rated]:
        """See the base."""
        slopes = first_order(chain, pictures, weights, self.batch)
        pieces = self._pieces(slopes)
        known = {name: one["effects"] for name, one in run.recorded(KIND).items() if one.get("key") == key}
        whole = self._gap(chain.scores, pictures, weights)
        with run.progress(len(pieces), self.name, len(known)) as progress:
            for name, edges in pieces.items():
                if name not in known:
                    found = [
                        whole - self._gap(lambda one, e=e: chain.without(e, one), pictures, weights) for e in edges
                    ]
                    known[name] = found
                    run.record(KIND, name, {"key": key, "effects": found})
                    progress.advance()
        return most_first(
            [(e, float(one)) for name, edges in pieces.items() for e, one in zip(edges, known[name], strict=True)]
        )

    def passes(self, scored: ScoredClassifier, pictures: int) -> int:
        """One a picture and measured edge, and some around."""
        layers = sum(isinstance(one, torch.nn.Conv2d) for one in scored.network.modules())
        return (self.screened * layers + 30) * pictures

    def _pieces(self, slopes: list[Float[Tensor, "j i"]]) -> dict[str, list[FilterEdge]]:
        """Edges that are measured, of one layer each, as many as are stored at once, by a name."""
        found = dict[str, list[FilterEdge]]()
        for layer, one in enumerate(slopes):
            order = one.flatten().argsort(descending=True, stable=True)[: self.screened].tolist()
            edges = [FilterEdge(layer, place % one.shape[1], place // one.shape[1]) for place in order]
            found |= {f"{layer}-{k}": edges[k : k + AT_ONCE] for k in range(0, len(edges), AT_ONCE)}
        return found

    def _gap(self, scores, pictures: ShortcutPictures, weights: Float[Tensor, "n"]) -> float:
        found = torch.cat([scores(one) for one in pictures.pixels.split(self.batch)])
        return float((weights.double() * found.double()).sum())
