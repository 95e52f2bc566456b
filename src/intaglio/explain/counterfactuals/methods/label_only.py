"""label-only: an autoencoder whose code is the attributes and nothing else."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle

from intaglio.explain.counterfactuals.attribute_graph import AttributeGraph
from intaglio.explain.counterfactuals.conditioned_denoiser import AttributeEncoder, cell_of
from intaglio.explain.counterfactuals.family import Changes, CounterfactualMaker, LearntPictures, Values, set_alone
from intaglio.explain.counterfactuals.picture_walks import Pixels

WIDTH = 64
"""Hidden numbers between the code and the first maps."""


@dataclass(frozen=True, kw_only=True)
class LabelOnly(CounterfactualMaker):
    """An autoencoder whose code is trained to be the labels, and nothing else.

    Encoder and decoder minimise mean (x - D(E(x)))^2 + sum_i (E(x)_i - label_i)^2 / 2, with x in [-1, 1]. What is set
    replaces its number of the code. Pictures of one code are one picture, blurred over all that attributes leave open.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "stay as they are"

    def fresh(self, graph: AttributeGraph, side: int) -> "LabelCode":
        """See the contract."""
        return LabelCode(side, len(graph.names), self.channels)


class LabelCode(LearntPictures):
    """The networks: encoder and decoder."""

    def __init__(self, side: int, attributes: int, channels: int):
        super().__init__()
        self.encoder = AttributeEncoder(side, attributes, channels)
        self.cell, wide = cell_of(side), 2 * channels
        first = side // self.cell // 4
        self.decoder = nn.Sequential(
            nn.Linear(attributes, WIDTH), nn.SiLU(), nn.Linear(WIDTH, wide * first**2), nn.SiLU(),
            nn.Unflatten(1, (wide, first, first)),
            nn.Upsample(scale_factor=2), nn.Conv2d(wide, wide, 3, padding=1), nn.SiLU(),
            nn.Upsample(scale_factor=2), nn.Conv2d(wide, wide, 3, padding=1), nn.SiLU(),
            nn.Conv2d(wide, 3 * self.cell**2, 3, padding=1),
        )  # fmt: skip

    def losses(self, pixels: Pixels, labels: Values, done: float, source: torch.Generator) -> dict[str, Tensor]:
        """See the contract."""
        code = self.encoder(pixels)
        rebuilt = (self._decoded(code) - pixels).square().mean()
        return {"rebuilt": rebuilt, "labels": 0.5 * (code - labels).square().sum(1).mean()}

    def read(self, pixels: Pixels, labels: Values) -> Values:
        """Values by the encoder; labels are not asked."""
        return self.encoder(pixels)

    def changed(self, values: Values, changes: Changes) -> Values:
        """See the contract: the others stay."""
        return set_alone(values, changes)

    def rest(self, pixels: Pixels, values: Values) -> Pixels:
        """Zeros: nothing else is kept."""
        return torch.zeros_like(pixels)

    def drawn(self, rest: Pixels, values: Values) -> Pixels:
        """Pictures of values alone."""
        return self._decoded(values).clamp(-1, 1)

    def _decoded(self, values: Values) -> Pixels:
        return pixel_shuffle(self.decoder(values), self.cell)
