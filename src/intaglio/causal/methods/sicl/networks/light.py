"""`Light`: one network for skeleton, colliders and marks, from statistics of all rows and a sample of the rows.

Constraint-based discovery rests on conditional independence of two columns given a third. So the network's state is
pairs of columns [b, d, d, h], which exchange information through third columns: first by a sum over all triples with
their statistics, then by triangle updates, as in protein folding, at the cost of one matrix product per channel. They
replace SiCL's encoder, whose cost and memory grow with the rows times the square of the columns.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from intaglio.causal.methods.sicl.networks import pair_statistics
from intaglio.causal.methods.sicl.networks.attention import Attention, CellEmbedding, feed_forward
from intaglio.causal.methods.sicl.networks.base import (
    Network,
    NetworkOutput,
    Triples,
    TrueGraphs,
    collider_loss,
    mark_loss,
    skeleton_loss,
)
from intaglio.causal.methods.sicl.networks.encoding import CELL_CHANNELS, LEVEL_SLOTS, Encoded

Pairs = Float[Tensor, "b d d p"]


@dataclass(frozen=True)
class LightShape:
    """The size of a `Light`."""

    width: int = 32
    """Channels of a cell's token."""
    heads: int = 4
    """Attention heads over tokens; they divide the width."""
    blocks: int = 1
    """Row blocks: attention over the columns of a row, a mean over rows, a feed-forward layer."""
    factors: int = 8
    """Channels of a cell in the outer products with the other cells of its row."""
    pair_width: int = 48
    """Channels of a pair."""
    pair_layers: int = 4
    """Layers of pair updates."""
    channels: int = 24
    """Channels of the triangle products and of the sum over triples."""


class Light(Network):
    """The network with heads for skeleton, colliders and marks; see the module's docstring."""

    def __init__(self, shape: LightShape = LightShape()):
        super().__init__()
        self.shape = shape
        h, p, c, f = shape.width, shape.pair_width, shape.channels, shape.factors
        self.cells = CellEmbedding(h, channels=CELL_CHANNELS, kinds=4, slots=LEVEL_SLOTS)
        self.blocks = nn.ModuleList(RowBlock(h, shape.heads) for _ in range(shape.blocks))
        self.left, self.right = nn.Linear(h, f), nn.Linear(h, f)
        self.node = nn.Sequential(nn.LayerNorm(2 * h), nn.Linear(2 * h, h))
        self.start = nn.ModuleDict(
            {
                "statistics": nn.Linear(pair_statistics.PAIR_MAPS, p),
                "rows": nn.Linear(f * f, p, bias=False),
                "first": nn.Linear(h, p, bias=False),
                "second": nn.Linear(h, p, bias=False),
                "size": nn.Linear(2, p, bias=False),
            }
        )
        self.threes = TripleSum(p, c)
        self.layers = nn.ModuleList(PairLayer(p, c) for _ in range(shape.pair_layers))
        rare = nn.Linear(p, 1)
        nn.init.constant_(rare.bias, -2.0)
        self.skeleton = nn.Sequential(nn.LayerNorm(p), rare)
        self.mark, self.reversible = (nn.Sequential(nn.LayerNorm(p), nn.Linear(p, 1)) for _ in range(2))
        self.collider = ColliderHead(h, p)

    def forward(self, tables: Encoded) -> NetworkOutput:
        """Logits of all three heads."""
        tokens = self.cells(tables.cells, tables.slots, tables.kinds, tables.size)
        for block in self.blocks:
            tokens = block(tokens)
        nodes = self.node(torch.cat([tokens.amax(1), tokens.mean(1)], -1))
        pairs = self._start(tables, tokens, nodes)
        pairs = pairs + self.threes(pairs, tables.triples)
        for layer in self.layers:
            pairs = layer(pairs)
        even = pairs + pairs.transpose(1, 2)
        mark = self.mark(pairs)
        marks = torch.cat([mark, mark.transpose(1, 2), self.reversible(even)], -1)
        head = self.collider.prepared(nodes, pairs, tables.triples)
        return NetworkOutput(self.skeleton(even)[..., 0], head, marks)

    def losses(self, tables: Encoded, truth: TrueGraphs) -> Mapping[str, Float[Tensor, ""]]:
        """Cross-entropies of pairs, of triples (true and predicted), and of marks at half weight."""
        output = self(tables)
        return {
            "skeleton": skeleton_loss(output.skeleton, truth),
            "colliders": collider_loss(output, truth, output.skeleton),
            "marks": 0.5 * mark_loss(output.marks, truth),
        }

    def _start(self, tables: Encoded, tokens: Float[Tensor, "b n d h"], nodes: Float[Tensor, "b d h"]) -> Pairs:
        left, right = self.left(tokens), self.right(tokens)
        b, n, d, f = left.shape
        together = left.flatten(2).transpose(1, 2) @ right.flatten(2) / n
        rows = together.reshape(b, d, f, d, f).transpose(2, 3).flatten(3)
        start = self.start
        return (
            start["statistics"](tables.pairs)
            + start["rows"](rows)
            + start["first"](nodes)[:, :, None]
            + start["second"](nodes)[:, None]
            + start["size"](tables.size)[:, None, None]
        )


class RowBlock(nn.Module):
    """Attention over the columns of each row, the mean of each column over the rows, and a feed-forward layer.

    Rows are exchangeable, so a mean replaces attention among them, at a cost that is linear in their number.
    """

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.across = Attention(width, heads)
        self.column = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width))
        self.hidden = feed_forward(width, gelu=True)

    def forward(self, x: Float[Tensor, "b n d h"]) -> Float[Tensor, "b n d h"]:
        """Tokens [b, n, d, h] after the block."""
        x = x + self.across(x, x)
        x = x + self.column(x.mean(1, keepdim=True))
        return x + self.hidden(x)


class TripleSum(nn.Module):
    """For each pair, the mean over third columns of a hidden layer over the triple's statistics and pairs."""

    def __init__(self, width: int, channels: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.pair, self.first, self.second = (nn.Linear(width, channels) for _ in range(3))
        self.given = nn.Linear(pair_statistics.TRIPLE_MAPS, channels, bias=False)
        self.out = nn.Linear(channels, width)

    def forward(self, pairs: Pairs, triples: Float[Tensor, "b i j k q"]) -> Pairs:
        """The output [b, d, d, p], to be added to the pairs."""
        x = self.norm(pairs)
        hidden = self.given(triples) + self.pair(x)[:, :, :, None]
        hidden = hidden + self.first(x)[:, :, None] + self.second(x)[:, None]
        return self.out(hidden.relu().mean(3))


class PairLayer(nn.Module):
    """A pair update: triangle products over third columns in both directions, column means, a feed-forward layer."""

    def __init__(self, width: int, channels: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.a, self.b = nn.Linear(width, 2 * channels), nn.Linear(width, 2 * channels)
        self.mixed_norm = nn.LayerNorm(2 * channels)
        self.out = nn.Linear(2 * channels, width)
        self.columns = nn.Linear(2 * width, 2 * width)
        self.gate = nn.Linear(width, width)
        self.hidden = feed_forward(width, 2, gelu=True)

    def forward(self, pairs: Pairs) -> Pairs:
        """Pairs [b, d, d, p] after the layer."""
        x = self.norm(pairs)
        (a_out, a_in), (b_out, b_in) = self.a(x).chunk(2, -1), self.b(x).chunk(2, -1)
        out = _product(a_out, b_out)
        into = _product(a_in.transpose(1, 2), b_in.transpose(1, 2))
        mixed = self.out(self.mixed_norm(torch.cat([out, into], -1)))
        column = self.columns(torch.cat([x.mean(2), x.mean(1)], -1))
        first, second = column.chunk(2, -1)
        pairs = pairs + torch.sigmoid(self.gate(x)) * (mixed + first[:, :, None] + second[:, None])
        return pairs + self.hidden(pairs)


def _product(a: Float[Tensor, "b i k c"], b: Float[Tensor, "b j k c"]) -> Float[Tensor, "b i j c"]:
    """Σ_k a_ik·b_jk / √d, by channel."""
    first, second = a.permute(0, 3, 1, 2), b.permute(0, 3, 2, 1)
    return (first @ second).permute(0, 2, 3, 1) * a.shape[2] ** -0.5


class ColliderHead(nn.Module):
    """Collider logits from one hidden layer over a triple's centre, its pairs and its statistics.

    All linear maps but the last act on columns and pairs before they are summed, so that a triple costs additions, a
    ReLU and a dot product.
    """

    def __init__(self, width: int, pair_width: int, hidden: int = 64):
        super().__init__()
        self.norm = nn.LayerNorm(pair_width)
        self.centre = nn.Linear(width, hidden)
        self.legs, self.into, self.out_of = (nn.Linear(pair_width, hidden, bias=False) for _ in range(3))
        self.given, self.beside = (nn.Linear(pair_statistics.TRIPLE_MAPS, hidden, bias=False) for _ in range(2))
        self.weigh = nn.Linear(hidden, 1)

    def prepared(
        self, nodes: Float[Tensor, "b d h"], pairs: Pairs, triples: Float[Tensor, "b i j k q"]
    ) -> "LightColliderLogits":
        """The function of triples that returns their collider logits."""
        x = self.norm(pairs)
        return LightColliderLogits(
            self, self.centre(nodes), self.legs(x + x.transpose(1, 2)), self.into(x), self.out_of(x), triples
        )


@dataclass(frozen=True, eq=False)
class LightColliderLogits:
    """`NetworkOutput.colliders` of one batch of tables."""

    head: ColliderHead
    centre: Float[Tensor, "b d c"]
    legs: Float[Tensor, "b d d c"]
    into: Float[Tensor, "b d d c"]
    out_of: Float[Tensor, "b d d c"]
    triples: Float[Tensor, "b i j k q"]

    def __call__(self, asked: Triples) -> Float[Tensor, "t"]:
        """Logits of triples (table, centre, leg, leg)."""
        b, k, i, j = asked.unbind(1)
        known = self.triples
        hidden = self.centre[b, k] + self.legs[b, i, j]
        hidden = hidden + self.into[b, i, k] + self.into[b, j, k] + self.out_of[b, k, i] + self.out_of[b, k, j]
        hidden = hidden + self.head.given(known[b, i, j, k])
        hidden = hidden + self.head.beside(known[b, i, k, j] + known[b, j, k, i])
        return self.head.weigh(hidden.relu())[:, 0]
