"""Attention along one axis of a table of tokens, axial blocks as in AVICI and SiCL, and the embedding of cells."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

Tokens = Float[Tensor, "b n d h"]


class Attention(nn.Module):
    """Multi-head attention of queries to keys, both [*, length, width], with one layer norm, or three if `split`.

    Separate layer norms of queries, keys and values are as published.
    """

    def __init__(self, width: int, heads: int, *, split: bool = False):
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3 if split else 1))
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)

    def forward(self, queries: Float[Tensor, "*a q h"], keys: Float[Tensor, "*a k h"]) -> Float[Tensor, "*a q h"]:
        """The attention's output, to be added to the queries."""
        first, last = self.norms[0], self.norms[-1]
        middle = self.norms[len(self.norms) // 2]
        q, k, v = self.query(first(queries)), self.key(middle(keys)), self.value(last(keys))
        mixed = scaled_dot_product_attention(self._split(q), self._split(k), self._split(v))
        return self.out(mixed.transpose(-2, -3).flatten(-2))

    def _split(self, x: Float[Tensor, "*a l h"]) -> Float[Tensor, "*a heads l w"]:
        return x.unflatten(-1, (self.heads, -1)).transpose(-2, -3)


def feed_forward(width: int, factor: int = 4, *, gelu: bool = False) -> nn.Sequential:
    """A layer norm and a feed-forward layer with a hidden layer `factor` times as wide."""
    act = nn.GELU() if gelu else nn.ReLU()
    return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, factor * width), act, nn.Linear(factor * width, width))


class AxialBlock(nn.Module):
    """Two layers of attention and feed-forward: over the columns within a row, then over the rows of a column."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.attentions = nn.ModuleList(Attention(width, heads, split=True) for _ in range(2))
        self.hidden = nn.ModuleList(feed_forward(width) for _ in range(2))

    def forward(self, x: Tokens) -> Tokens:
        """Tokens [b, n, d, h] after both layers."""
        for attention, hidden in zip(self.attentions, self.hidden, strict=True):
            x = x + attention(x, x)
            x = (x + hidden(x)).transpose(1, 2)
        return x


class CellEmbedding(nn.Module):
    """The embedding of cells: value channels, kind of column, level, and size of the table."""

    def __init__(self, width: int, *, channels: int, kinds: int, slots: int):
        super().__init__()
        self.values = nn.Linear(channels, width)
        self.kind = nn.Embedding(kinds, width)
        self.slot = nn.Embedding(slots, width)
        self.size = nn.Linear(2, width, bias=False)
        nn.init.normal_(self.kind.weight, std=0.1)
        nn.init.normal_(self.slot.weight, std=0.1)

    def forward(self, cells: Tensor, slots: Tensor, kinds: Tensor, size: Tensor) -> Tokens:
        """Tokens [b, n, d, h] of cells [b, n, d, c], slots of levels [b, n, d], kinds [b, d] and size [b, 2]."""
        column = self.kind(kinds) + self.size(size)[:, None]
        return self.values(cells) + self.slot(slots) + column[:, None]


def max_over_rows(tokens: Tokens) -> Float[Tensor, "b d h"]:
    """The maximum over the rows, by channel."""
    return torch.amax(tokens, 1)
