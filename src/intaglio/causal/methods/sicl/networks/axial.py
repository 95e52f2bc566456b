"""`Axial`: SiCL's network as published, and `NodeEdge`, the baseline that shares its encoder.

SiCL (arXiv 2502.10883): axial attention over cells, attention of pairs of columns to the columns of their row, then the
maximum over the rows. One network learns the skeleton; a copy of it is trained further on the v-structures.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, normalize

from intaglio.causal.methods.sicl.networks.attention import (
    Attention,
    AxialBlock,
    CellEmbedding,
    feed_forward,
    max_over_rows,
)
from intaglio.causal.methods.sicl.networks.base import (
    Network,
    NetworkOutput,
    Triples,
    TrueGraphs,
    collider_loss,
    skeleton_loss,
)
from intaglio.causal.methods.sicl.networks.encoding import CELL_CHANNELS, LEVEL_SLOTS, Encoded


@dataclass(frozen=True)
class AxialShape:
    """The size of an axial encoder; published: width 128, 8 heads, 6 blocks (8 in the Node-Edge baseline)."""

    width: int = 128
    """Channels of a cell's token and of a pair."""
    heads: int = 8
    """Attention heads; they divide the width."""
    blocks: int = 6
    """Axial blocks, of two layers each."""


class AxialEncoder(nn.Module):
    """Axial encoder from cells [b, n, d, 4] to tokens [b, n, d, h].

    The published one takes the value alone; this one also takes kinds of columns, levels and missing cells, so that one
    network serves all tables.
    """

    def __init__(self, shape: AxialShape):
        super().__init__()
        self.cells = CellEmbedding(shape.width, channels=CELL_CHANNELS, kinds=4, slots=LEVEL_SLOTS)
        self.blocks = nn.ModuleList(AxialBlock(shape.width, shape.heads) for _ in range(shape.blocks))

    def forward(self, tables: Encoded) -> Float[Tensor, "b n d h"]:
        """Tokens [b, n, d, h]."""
        tokens = self.cells(tables.cells, tables.slots, tables.kinds, tables.size)
        for block in self.blocks:
            tokens = block(tokens)
        return tokens


class PairEncoder(nn.Module):
    """Tokens to pairs, by row: each pair is embedded from its two columns and attends to all columns of its row."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.first, self.second = nn.Linear(width, 4 * width), nn.Linear(width, 4 * width, bias=False)
        self.start = nn.Sequential(nn.ReLU(), nn.Linear(4 * width, width))
        self.attention = Attention(width, heads, split=True)
        self.hidden = feed_forward(width)
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Float[Tensor, "b n d h"]) -> Float[Tensor, "b n d d h"]:
        """Pairs [b, n, i, j, h] of columns i and j within each row."""
        d = tokens.shape[2]
        # A linear map of two concatenated columns is the sum of two maps, each of d columns instead of d² pairs.
        pairs = self.start(self.first(tokens)[:, :, :, None] + self.second(tokens)[:, :, None]).flatten(2, 3)
        pairs = pairs + self.attention(pairs, tokens)
        return self.norm(pairs + self.hidden(pairs)).unflatten(2, (d, d))


class AxialStem(nn.Module):
    """One of SiCL's two networks, with both heads; each is used for one."""

    def __init__(self, shape: AxialShape):
        super().__init__()
        h = shape.width
        self.encoder, self.pairwise = AxialEncoder(shape), PairEncoder(h, shape.heads)
        self.skeleton = nn.Linear(h, 1)
        self.scale, self.bias = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))
        self.collider = nn.Sequential(nn.Linear(2 * h, 4 * h), nn.ReLU(), nn.Linear(4 * h, 1))

    def forward(self, tables: Encoded) -> tuple[Float[Tensor, "b d d"], "AxialColliderLogits"]:
        """Skeleton logits max(S, Sᵀ), and v-structure logits, the maximum over both orders of the legs."""
        tokens = self.encoder(tables)
        pairs = self.pairwise(tokens).amax(1)
        logits = self.scale[0].exp() * self.skeleton(pairs)[..., 0] + self.bias[0]
        return torch.maximum(logits, logits.transpose(1, 2)), AxialColliderLogits(self, max_over_rows(tokens), pairs)


@dataclass(frozen=True, eq=False)
class AxialColliderLogits:
    """`NetworkOutput.colliders` of SiCL: a hidden layer over the centre's column and the pair of the legs."""

    stem: AxialStem
    nodes: Float[Tensor, "b d h"]
    pairs: Float[Tensor, "b d d h"]

    def __call__(self, asked: Triples) -> Float[Tensor, "t"]:
        """Logits of triples (table, centre, leg, leg)."""
        b, k, i, j = asked.unbind(1)
        both = [
            self.stem.collider(torch.cat([self.nodes[b, k], pair], -1))[:, 0]
            for pair in (self.pairs[b, i, j], self.pairs[b, j, i])
        ]
        return self.stem.scale[1].exp() * torch.maximum(*both) + self.stem.bias[1]


class Axial(Network):
    """SiCL's two networks: one for the skeleton, one for the v-structures."""

    def __init__(self, shape: AxialShape = AxialShape()):
        super().__init__()
        self.shape = shape
        self.pairs, self.triples = AxialStem(shape), AxialStem(shape)

    def forward(self, tables: Encoded) -> NetworkOutput:
        """Skeleton logits of the first network, collider logits of the second."""
        return NetworkOutput(self.pairs(tables)[0], self.triples(tables)[1])

    def losses(self, tables: Encoded, truth: TrueGraphs) -> Mapping[str, Float[Tensor, ""]]:
        """The losses of both networks on the same tables.

        The second network also learns the skeleton, instead of starting from a copy of the first as published.
        """
        logits, _ = self.pairs(tables)
        again, colliders = self.triples(tables)
        output = NetworkOutput(again, colliders)
        return {
            "skeleton": skeleton_loss(logits, truth),
            "colliders": collider_loss(output, truth),
            "second skeleton": skeleton_loss(again, truth),
        }


class NodeEdge(Network):
    """P(i → j) for each ordered pair independently, by the encoder of AVICI (arXiv 2205.12934) and SiCL.

    The logit is cos(u_i, v_j)·exp(temperature) + bias. AVICI's acyclicity penalty is left out; cycles are broken in
    decoding.
    """

    def __init__(self, shape: AxialShape = AxialShape(blocks=8)):
        super().__init__()
        self.shape = shape
        self.encoder = AxialEncoder(shape)
        self.norm = nn.LayerNorm(shape.width)
        self.cause, self.effect = nn.Linear(shape.width, shape.width), nn.Linear(shape.width, shape.width)
        self.temperature, self.bias = nn.Parameter(torch.ones(())), nn.Parameter(torch.tensor(-3.0))

    def forward(self, tables: Encoded) -> NetworkOutput:
        """Arrow logits; a pair's skeleton logit is the larger of its two arrows'."""
        nodes = max_over_rows(self.norm(self.encoder(tables)))
        u, v = normalize(self.cause(nodes), dim=-1), normalize(self.effect(nodes), dim=-1)
        arrows = (u @ v.transpose(1, 2)) * self.temperature.exp() + self.bias
        return NetworkOutput(torch.maximum(arrows, arrows.transpose(1, 2)), ArrowColliderLogits(arrows), arrows=arrows)

    def losses(self, tables: Encoded, truth: TrueGraphs) -> Mapping[str, Float[Tensor, ""]]:
        """Mean cross-entropy over ordered pairs."""
        arrows = self(tables).arrows
        off = ~torch.eye(arrows.shape[-1], dtype=torch.bool, device=arrows.device)
        if not bool(off.any()):
            return {"arrows": arrows.sum() * 0}
        return {"arrows": binary_cross_entropy_with_logits(arrows[:, off], truth.adjacency[:, off].float())}


@dataclass(frozen=True, eq=False)
class ArrowColliderLogits:
    """`NetworkOutput.colliders` from arrows: the logit of the product of both legs' probabilities."""

    arrows: Float[Tensor, "b d d"]

    def __call__(self, asked: Triples) -> Float[Tensor, "t"]:
        b, k, i, j = asked.unbind(1)
        log_p = nn.functional.logsigmoid(self.arrows[b, i, k]) + nn.functional.logsigmoid(self.arrows[b, j, k])
        return log_p - torch.log1p(-log_p.exp().clamp(max=1 - 1e-6))
