"""GPTQ: weights rounded column by column, the error of each made good by those that are still to come."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.errors import require
from intaglio.models.packing.integers import Integers
from intaglio.models.packing.term import Term
from intaglio.shrink.layer_by_layer import LayerShrinker
from intaglio.shrink.layer_statistics import Gathered, InputStatistics
from intaglio.shrink.quantiser import Clip, group_of, integer_scales

BLOCK = 128
"""Columns whose errors are handed on at once to all later blocks; the result does not depend on it."""


@dataclass(frozen=True, kw_only=True)
class GPTQ(LayerShrinker):
    """GPTQ: weights rounded column by column, later ones making good the error of the layer's output.

    With H = E[xxᵀ] of a layer's inputs, damped by a share of its mean diagonal, and U the upper Cholesky factor of H⁻¹,
    column j of W is rounded to q_j, and the later columns k lose (w_j - q_j)·U_jk / U_jj: the change that makes
    tr((W-Ŵ)H(W-Ŵ)ᵀ), the squared error of the outputs, least. Scales are chosen before, as round-to-nearest chooses
    them. Where H is diagonal nothing is handed on and the result is that of round-to-nearest.

    Source: arXiv 2210.17323.
    """

    kind: ClassVar[Literal["quantise", "prune"]] = "quantise"
    calibrated: ClassVar[bool] = True
    gathered: ClassVar[Gathered] = "products"
    bench: ClassVar[Sequence[Mapping[str, Any]]] = ({"bits": 4}, {"bits": 3}, {"bits": 2})

    bits: int = 4
    """Bits of a code, 2 to 8."""
    group: int = 0
    """Columns of a row that share a scale, 0 for all; a layer whose columns it does not divide has one a row."""
    clip: Clip = "mse"
    """mse: the scale of least squared error of the weights; none: the scale that holds every weight."""
    damping: float = 0.01
    """Share of the mean diagonal of H that is added to it, above 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(2 <= self.bits <= 8, f"bits must be 2 to 8, not {self.bits}")
        require(self.group >= 0, f"group must be 0 or more, not {self.group}")
        require(0 < self.damping < float("inf"), f"damping must be above 0 and finite, not {self.damping}")

    def pack(self, weight: Float[Tensor, "o n"], inputs: InputStatistics | None, label: str = "") -> tuple[Term, ...]:
        """The weight with the least output error that rounding in the order of the columns finds."""
        scales = integer_scales(weight, self.bits, self.group, self.clip)
        products = () if inputs is None else inputs.products
        each, begin, codes = scales.float().repeat_interleave(weight.shape[1] // scales.shape[1], 1), 0, []
        for block in products:
            columns = slice(begin, begin + len(block))
            factor = inverse_factor(block, self.damping)
            codes.append(rounded_in_order(weight[:, columns].clone(), each[:, columns], factor, self.bits))
            begin += len(block)
        return (Integers(torch.cat(codes, 1), scales, self.bits),)

    def bits_of(self, rows: int, columns: int) -> float:
        """Bits of a code, and its part of a scale."""
        return self.bits + 16 / group_of(columns, self.group)


def inverse_factor(products: Float[Tensor, "n n"], damping: float) -> Float[Tensor, "n n"]:
    """The upper Cholesky factor of the inverse of damped second moments; inputs that are always 0 stand alone."""
    damped = products.double().clone()
    diagonal = damped.diagonal()
    diagonal[diagonal == 0] = 1.0
    diagonal += damping * diagonal.mean()
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
    return torch.linalg.cholesky(inverse, upper=True).float()


def rounded_in_order(
    weight: Float[Tensor, "o n"], scales: Float[Tensor, "o n"], factor: Float[Tensor, "n n"], bits: int
) -> Tensor:
    """Codes of a weight, which is changed in place: each column rounded, its error handed on to the later ones."""
    half, n = 2 ** (bits - 1), weight.shape[1]
    codes = torch.zeros(weight.shape, dtype=torch.uint8)
    for first in range(0, n, BLOCK):
        last = min(first + BLOCK, n)
        errors = torch.zeros(len(weight), last - first)
        for j in range(first, last):
            steps = (weight[:, j] / scales[:, j]).round().clamp(-half, half - 1)
            codes[:, j] = (steps + half).to(torch.uint8)
            error = (weight[:, j] - steps * scales[:, j]) / factor[j, j]
            weight[:, j:last] -= error[:, None] * factor[j, j:last]
            errors[:, j - first] = error
        weight[:, last:] -= errors @ factor[first:last, last:]
    return codes
