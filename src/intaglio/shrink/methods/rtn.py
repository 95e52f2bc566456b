"""Rounding to the nearest code, the ruler of every other way to quantise."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from intaglio.errors import require
from intaglio.models.packing.term import Term
from intaglio.shrink.layer_by_layer import LayerShrinker
from intaglio.shrink.layer_statistics import InputStatistics
from intaglio.shrink.quantiser import Clip, group_of, integer_scales, nearest_integers, nearest_normal_floats


@dataclass(frozen=True, kw_only=True)
class RoundToNearest(LayerShrinker):
    """Rounds each weight to its nearest code, a scale a row or group; needs no data.

    A weight w becomes s·clip(⌊w/s⌉, -2^(b-1), 2^(b-1)-1); where weights are uniform within a cell, the mean squared
    error is s²/12. The scale s holds the largest weight of the group, or, with `clip` mse, the share of that at which
    the squared error is least. With `format` nf4 a code stands for one of sixteen levels that are quantiles of a normal
    distribution, arXiv 2305.14314.
    """

    role = "baseline"
    kind: ClassVar[Literal["quantise", "prune"]] = "quantise"
    bench: ClassVar[Sequence[Mapping[str, Any]]] = (
        {"bits": 8},
        {"bits": 6},
        {"bits": 4, "group": 64},
        {"bits": 4, "group": 64, "format": "nf4", "clip": "none"},
        {"bits": 4},
        {"bits": 3},
        {"bits": 2},
    )

    bits: int = 8
    """Bits of a code, 2 to 8."""
    group: int = 0
    """Columns of a row that share a scale, 0 for all; a layer whose columns it does not divide has one a row."""
    clip: Clip = "mse"
    """mse: the scale of least squared error; none: the scale that holds every weight."""
    format: Literal["int", "nf4"] = "int"
    """int: evenly spaced codes; nf4: levels of a normal distribution, of 4 bits."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(2 <= self.bits <= 8, f"bits must be 2 to 8, not {self.bits}")
        require(self.group >= 0, f"group must be 0 or more, not {self.group}")
        require(self.format == "int" or self.bits == 4, "format nf4 has 4 bits: give bits 4 with it")
        require(self.format == "int" or self.clip == "none", "format nf4 is not clipped: give clip none with it")

    def pack(self, weight: Float[Tensor, "o n"], inputs: InputStatistics | None, label: str = "") -> tuple[Term, ...]:
        """The rounded weight."""
        if self.format == "nf4":
            return (nearest_normal_floats(weight, self.group),)
        return (nearest_integers(weight, integer_scales(weight, self.bits, self.group, self.clip), self.bits),)

    def bits_of(self, rows: int, columns: int) -> float:
        """Bits of a code, and its part of a scale."""
        return self.bits + 16 / group_of(columns, self.group)
