"""without-graph: conditional diffusion on the attributes, each of which is set alone."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from intaglio.explain.counterfactuals.attribute_graph import AttributeGraph
from intaglio.explain.counterfactuals.diffusion_family import DiffusionMaker, WalkedPictures
from intaglio.explain.counterfactuals.family import Changes, Values, set_alone
from intaglio.explain.counterfactuals.picture_walks import Pixels


@dataclass(frozen=True, kw_only=True)
class WithoutGraph(DiffusionMaker):
    """Diffusion told the labels of a picture, with no graph: what is set changes alone.

    The denoiser is that of `causal-diffae`; the labels themselves stand in the place of its code, so that nothing is
    encoded and the labels of a picture must be known. Its noise is read off by the same walk.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "stay as they are"

    def fresh(self, graph: AttributeGraph, side: int) -> "ToldLabels":
        """See the contract."""
        return ToldLabels(side, len(graph.names), self.channels, self.steps)


class ToldLabels(WalkedPictures):
    """The denoiser alone."""

    def losses(self, pixels: Pixels, labels: Values, done: float, source: torch.Generator) -> dict[str, Tensor]:
        """See the contract."""
        return {"denoising": self.denoising(pixels, labels, source)}

    def read(self, pixels: Pixels, labels: Values) -> Values:
        """The labels."""
        return labels

    def changed(self, values: Values, changes: Changes) -> Values:
        """See the contract: the others stay."""
        return set_alone(values, changes)
