"""Small transformers over series: a classifier with an embedding, and a maker of masks."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

Series = Float[Tensor, "n t d"]
LAYER: dict[str, Any] = {"dropout": 0.0, "activation": "gelu", "batch_first": True, "norm_first": True}


@dataclass(frozen=True, eq=False)
class EncodedSeries:
    """Embeddings and answers of a classifier for series."""

    sequence: Float[Tensor, "n t h"]
    """Of each time."""
    pooled: Float[Tensor, "n h"]
    """Of the whole: the mean over times."""
    logits: Float[Tensor, "n c"]


class SeriesNetwork(nn.Module):
    """A transformer over the times of a series, its mean over times, and a linear head.

    Args:
        channels: numbers d of a time.
        classes: of the head.
        width: of each layer, an even number; heads have 16 numbers where that divides it.
        layers: of attention and feed-forward, normalised first.
    """

    def __init__(self, channels: int, classes: int, width: int, layers: int):
        super().__init__()
        self.width = width
        self.lift = nn.Linear(channels, width)
        layer = nn.TransformerEncoderLayer(width, _heads(width), 4 * width, **LAYER)
        self.encoder = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), False)
        self.head = nn.Linear(width, classes)

    def forward(self, values: Series) -> EncodedSeries:
        """The embedding of each time, of the whole, and logits."""
        sequence = self.encoder(self.lift(values) + times(values.shape[1], self.width))
        pooled = sequence.mean(1)
        return EncodedSeries(sequence, pooled, self.head(pooled))


class MaskNetwork(nn.Module):
    """A transformer decoder that reads series and the classifier's sequence, and gives a logit a point."""

    def __init__(self, channels: int, width: int, layers: int):
        super().__init__()
        self.width = width
        self.lift = nn.Linear(channels, width)
        layer = nn.TransformerDecoderLayer(width, _heads(width), 4 * width, **LAYER)
        self.decoder = nn.TransformerDecoder(layer, layers, nn.LayerNorm(width))
        self.head = nn.Linear(width, channels)

    def forward(self, values: Series, sequence: Float[Tensor, "n t h"]) -> Series:
        """Logits of the probability that each point is kept."""
        return self.head(self.decoder(self.lift(values) + times(values.shape[1], self.width), sequence))


def times(count: int, width: int) -> Float[Tensor, "t h"]:
    """Sines and cosines of the times 0 to count - 1, at wavelengths from 2 pi to 10,000 times that."""
    rates = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
    angles = torch.arange(count)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], 2).flatten(1)


def _heads(width: int) -> int:
    return width // 16 if width % 16 == 0 else 1
