"""Masks of the weights that stay: of the highest scores of a row, or of each few of its columns."""

import re

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from intaglio.errors import require
from intaglio.models.packing.kept_entries import KeptEntries, is_pattern
from intaglio.models.packing.term import Term
from intaglio.shrink.quantiser import integer_scales, nearest_integers


def parsed_pattern(pattern: str | None) -> tuple[int, int] | None:
    """(n, m) of a pattern such as `2:4`; None for none. Raises `ValueError` for another text."""
    if pattern is None:
        return None
    found = re.fullmatch(r"(\d{1,3}):(\d{1,3})", pattern)
    pair = (int(found[1]), int(found[2])) if found else (0, 0)
    require(
        is_pattern(pair, pair[1] or 1),
        f"pattern must be n:m with n below m, and m a power of two from 2 to 256, such as 2:4, not {pattern}",
    )
    return pair


def fitting(pattern: tuple[int, int] | None, columns: int) -> tuple[int, int] | None:
    """The pattern where so many columns can have it; else None."""
    return pattern if pattern is not None and is_pattern(pattern, columns) else None


def kept_columns(columns: int, sparsity: float, pattern: tuple[int, int] | None) -> int:
    """Weights of a row that stay, one at least; a pattern that does not fit the columns keeps its share of a row."""
    if pattern is None:
        return max(1, columns - round(sparsity * columns))
    if (fits := fitting(pattern, columns)) is not None:
        return columns // fits[1] * fits[0]
    return max(1, round(columns * pattern[0] / pattern[1]))


def highest(scores: Float[Tensor, "o n"], sparsity: float, pattern: tuple[int, int] | None) -> Bool[Tensor, "o n"]:
    """Mask of the highest scores of each row, or of each m columns; of equal ones the first."""
    rows, columns = scores.shape
    fits, kept = fitting(pattern, columns), kept_columns(columns, sparsity, pattern)
    groups = scores.view(rows, -1, columns if fits is None else fits[1])
    order = groups.sort(dim=2, descending=True, stable=True).indices[:, :, : kept if fits is None else fits[0]]
    return torch.zeros(groups.shape, dtype=torch.bool).scatter_(2, order, True).view(rows, columns)


def kept_term(
    weight: Float[Tensor, "o n"], mask: Bool[Tensor, "o n"], bits: int, pattern: tuple[int, int] | None
) -> Term:
    """The weights that the mask keeps, rounded to codes of `bits` with a scale a row."""
    values = weight[mask].view(len(weight), -1)
    codes = nearest_integers(values, integer_scales(values, bits, 0, "mse"), bits)
    return KeptEntries(mask, codes, fitting(pattern, weight.shape[1]))


def kept_bits(columns: int, sparsity: float, pattern: tuple[int, int] | None, bits: int) -> float:
    """Bits a weight of a row: the places of what is kept, its codes, and a scale."""
    kept, fits = kept_columns(columns, sparsity, pattern), fitting(pattern, columns)
    places = 1.0 if fits is None else (fits[1].bit_length() - 1) * kept / columns
    return places + (bits * kept + 16) / columns
