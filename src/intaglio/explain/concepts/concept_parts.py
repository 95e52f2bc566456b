"""Parts of concepts: what the crops with most of a concept are of, by features of an earlier layer."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from intaglio.errors import BadInput
from intaglio.models.scored_network import ScoredNetwork

MOST = 0.1
"""Share of all crops that a concept is divided by: those with most of it."""


@dataclass(frozen=True)
class Division:
    """The concepts that are to be divided, and by what."""

    concepts: int
    """Those that are divided, from 1, the widest first."""
    parts: int
    """Of each, from 2."""
    layer: str
    """Whose features the parts are of; empty: the last one with larger maps."""

    def layer_before(self, scored: ScoredNetwork, layer: str) -> str:
        """The layer of the parts. Raises `BadInput` for one that there is not, and for one that is not before."""
        calls = scored.layers
        if self.layer:
            scored.layer(self.layer)
            if calls.index(self.layer) >= calls.index(layer):
                raise BadInput(f"layer {self.layer} of the parts is not before {layer}; name an earlier one")
            return self.layer
        before = [one for one in scored.stage_ends if calls.index(one) < calls.index(layer)]
        if not before:
            raise BadInput(f"the network has no layer with larger maps before {layer}; name one by --earlier")
        return before[-1]

    def check(self, crops: int, channels: int) -> None:
        """Raises `BadInput` for too few crops, and for too few channels of the earlier layer."""
        few = min(math.ceil(MOST * crops), channels)
        if few < self.parts:
            raise BadInput(
                f"a concept is divided by the tenth of {crops} crops that have most of it, and by {channels} channels, "
                f"too few for {self.parts} parts; give more pictures, or fewer --parts"
            )

    def widest(
        self, tops: Mapping[int, Int[ndarray, " t"]], features: Float[ndarray, "n c"]
    ) -> tuple[dict[int, float], tuple[int, ...]]:
        """The spread of each concept, and the concepts that are divided.

        Args:
            tops: crops with most of each concept.
            features: of all crops, at the earlier layer.
        """
        spreads = {number: spread(features[rows]) for number, rows in tops.items()}
        fit = [number for number, rows in tops.items() if len(rows) >= self.parts]
        return spreads, tuple(sorted(fit, key=lambda number: -spreads[number])[: self.concepts])


def crops_with_most(codes: Float[ndarray, "n"]) -> Int[ndarray, " t"]:
    """Places of a tenth of the crops, those of the largest codes that are above 0, the largest first."""
    order = np.argsort(-codes, kind="stable")[: math.ceil(MOST * len(codes))]
    return order[codes[order] > 0]


def spread(features: Float[ndarray, "t c"]) -> float:
    """Share of the features' squares that one direction leaves, at best; 0 where there are none."""
    squares = np.linalg.svd(features, compute_uv=False) ** 2
    return float(1 - squares[0] / squares.sum()) if squares.sum() > 0 else 0.0


def left_share(features: Float[ndarray, "t c"], codes: Float[ndarray, "t p"], bank: Float[ndarray, "p c"]) -> float:
    """Share of the features' squares that codes in a bank leave."""
    return float(((features - codes @ bank) ** 2).sum() / (features**2).sum())
