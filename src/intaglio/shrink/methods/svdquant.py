"""SVDQuant: the largest directions of a weight in half precision, and what they leave in few bits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.errors import BadInput, require
from intaglio.models.packing.low_rank import LowRank
from intaglio.models.packing.term import Term
from intaglio.shrink.layer_by_layer import LayerShrinker
from intaglio.shrink.layer_statistics import Gathered, InputStatistics
from intaglio.shrink.quantiser import Clip, group_of, integer_scales, nearest_integers


@dataclass(frozen=True, kw_only=True)
class SVDQuant(LayerShrinker):
    """SVDQuant: the largest directions of a weight in half precision, the rest of it in few bits.

    With λ_j = E[x_j²]^(e/2) of a layer's inputs, e being `exponent`, W·diag(λ) = U S Vᵀ is cut to its r largest
    directions, L = U_r S_r V_rᵀ·diag(1/λ), and W - L is rounded to codes with a scale for each group. L is then fitted
    again to what the codes leave, in turns, and the turn of the least expected squared error of outputs, inputs taken
    as uncorrelated, is kept. Weights alone: activations, for whose outliers the method was made, are not rounded here.
    On narrow layers the two factors cost more bits than they save.

    Source: arXiv 2411.05007.
    """

    kind: ClassVar[Literal["quantise", "prune"]] = "quantise"
    calibrated: ClassVar[bool] = True
    gathered: ClassVar[Gathered] = "squares"
    bench: ClassVar[Sequence[Mapping[str, Any]]] = ({"bits": 4},)

    rank: int = 16
    """Directions in half precision, 1 or more; a layer of fewer rows or columns has fewer."""
    bits: int = 4
    """Bits of a code of the rest, 2 to 8."""
    group: int = 64
    """Columns of a row that share a scale, 0 for all; a layer whose columns it does not divide has one a row."""
    clip: Clip = "mse"
    """mse: the scale of least squared error of the rest; none: the scale that holds all of it."""
    exponent: float = 0.5
    """Weight of an input's size in the choice of the directions, 0 (none) to 1."""
    turns: int = 4
    """Times that directions and codes are fitted to each other, 1 or more."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.rank >= 1, f"rank must be 1 or more, not {self.rank}")
        require(2 <= self.bits <= 8, f"bits must be 2 to 8, not {self.bits}")
        require(self.group >= 0, f"group must be 0 or more, not {self.group}")
        require(0 <= self.exponent <= 1, f"exponent must be 0 to 1, not {self.exponent}")
        require(self.turns >= 1, f"turns must be 1 or more, not {self.turns}")

    def pack(self, weight: Float[Tensor, "o n"], inputs: InputStatistics | None, label: str = "") -> tuple[Term, ...]:
        """The two factors, and the codes of the rest."""
        if inputs is None:
            raise BadInput("svdquant weighs directions by inputs, and no statistics of them are given")
        sizes = (inputs.squares.clamp(min=1e-12).sqrt() ** self.exponent).float()
        rank, best, least = min(self.rank, *weight.shape), (), float("inf")
        target = weight
        for _ in range(self.turns):
            factors = directions(target, sizes, rank)
            rest = weight - factors.unpack()
            codes = nearest_integers(rest, integer_scales(rest, self.bits, self.group, self.clip), self.bits)
            lost = float(((rest - codes.unpack()).square().double() @ inputs.squares.double()).sum())
            if lost < least:
                best, least = (factors, codes), lost
            target = weight - codes.unpack()
        return best

    def bits_of(self, rows: int, columns: int) -> float:
        """Bits of both factors, of a code, and of its part of a scale."""
        rank = min(self.rank, rows, columns)
        return 16 * rank * (rows + columns) / (rows * columns) + self.bits + 16 / group_of(columns, self.group)


def directions(weight: Float[Tensor, "o n"], sizes: Float[Tensor, "n"], rank: int) -> LowRank:
    """The product of that rank that is nearest to a weight whose columns count by their sizes, in half precision."""
    u, s, v = torch.linalg.svd((weight * sizes).double(), full_matrices=False)
    root = s[:rank].sqrt()
    return LowRank((u[:, :rank] * root).half(), (root[:, None] * v[:rank] / sizes.double()).half())
