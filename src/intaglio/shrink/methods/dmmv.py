"""Rounding whose largest error of an output is least, by a search over floors and ceilings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.errors import BadInput, require
from intaglio.models.packing.integers import Integers
from intaglio.models.packing.term import Term
from intaglio.shrink.layer_by_layer import LayerShrinker
from intaglio.shrink.layer_statistics import Gathered, InputStatistics
from intaglio.shrink.quantiser import Clip, group_of, integer_scales


@dataclass(frozen=True, kw_only=True)
class DiscreteMinMax(LayerShrinker):
    """Rounds each row such that the largest error of its output over calibration inputs is least.

    For a row w and inputs A [m, n], the 512 of largest norm, it looks for codes next to w that make ‖A(ŵ-w)‖_∞ small.
    From the nearest codes on, it looks at the 16 entries whose move, floor to ceiling or back, brings the largest error
    down most, takes the one of them after which the maximum is least, also where that is worse than before, never one
    of the last seven again, and keeps the best that it saw. The paper's abstract alone was read (discrete min-max
    violation); search and settings are our own. A least maximum costs mean error, and the maximum over these inputs is
    not that over all.

    Source: arXiv 2508.13437.
    """

    kind: ClassVar[Literal["quantise", "prune"]] = "quantise"
    calibrated: ClassVar[bool] = True
    gathered: ClassVar[Gathered] = "largest"
    bench: ClassVar[Sequence[Mapping[str, Any]]] = ({"bits": 4},)

    bits: int = 4
    """Bits of a code, 2 to 8."""
    group: int = 0
    """Columns of a row that share a scale, 0 for all; a layer whose columns it does not divide has one a row."""
    clip: Clip = "mse"
    """mse: the scale of least squared error of the weights; none: the scale that holds every weight."""
    moves: int = 100
    """Moves of each row, 1 or more."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(2 <= self.bits <= 8, f"bits must be 2 to 8, not {self.bits}")
        require(self.group >= 0, f"group must be 0 or more, not {self.group}")
        require(self.moves >= 1, f"moves must be 1 or more, not {self.moves}")

    def pack(self, weight: Float[Tensor, "o n"], inputs: InputStatistics | None, label: str = "") -> tuple[Term, ...]:
        """The weight in the best codes that the search saw."""
        if inputs is None:
            raise BadInput("dmmv rounds by its inputs, and none are given")
        scales = integer_scales(weight, self.bits, self.group, self.clip)
        each = scales.float().repeat_interleave(weight.shape[1] // scales.shape[1], 1)
        steps = least_maximum(weight / each, inputs.largest, each, self.bits, self.moves)
        return (Integers((steps + 2 ** (self.bits - 1)).to(torch.uint8), scales, self.bits),)

    def bits_of(self, rows: int, columns: int) -> float:
        """Bits of a code, and its part of a scale."""
        return self.bits + 16 / group_of(columns, self.group)


CANDIDATES, TABU = 16, 7
"""Entries of a row whose moves are tried at a time, and last moves that are not taken back."""


def least_maximum(
    real: Float[Tensor, "o n"], inputs: Float[Tensor, "m n"], scales: Float[Tensor, "o n"], bits: int, moves: int
) -> Float[Tensor, "o n"]:
    """Whole numbers next to `real`, within the codes, under which the largest error of each row's output is small.

    Args:
        real: weights over their scales.
        inputs: rows that outputs are taken of.
        scales: of each weight.
        bits: of a code.
        moves: of each row.
    """
    half = 2 ** (bits - 1)
    floor = real.floor().clamp(-half, half - 1)
    ceiling = real.ceil().clamp(-half, half - 1)
    steps = real.round().clamp(-half, half - 1)
    errors = ((steps - real) * scales) @ inputs.T
    best, least = steps.clone(), errors.abs().amax(1)
    rows, last = torch.arange(len(real)), torch.full((TABU, len(real)), -1)
    tried = min(CANDIDATES, real.shape[1])
    for move in range(moves):
        other = torch.where(steps == floor, ceiling, floor)
        change = (other - steps) * scales
        worst = errors.abs().argmax(1)
        gain = -change * inputs[worst] * errors[rows, worst].sign()[:, None]
        gain.masked_fill_(change == 0, -torch.inf)
        for barred in last:
            gain[rows[barred >= 0], barred[barred >= 0]] = -torch.inf
        helpful, places = gain.topk(tried, 1)
        after = errors[:, None] + change.gather(1, places)[:, :, None] * inputs.T[places]
        maxima = after.abs().amax(2).masked_fill(helpful <= 0, torch.inf)
        found, chosen = maxima.min(1)
        moving = found < torch.inf
        entry = places[rows, chosen]
        at = rows[moving]
        steps[at, entry[moving]] = other[at, entry[moving]]
        errors[at] = after[at, chosen[moving]]
        last[move % TABU] = torch.where(moving, entry, -1)
        better = moving & (found < least)
        best[better], least = steps[better], torch.where(better, found, least)
    return best
