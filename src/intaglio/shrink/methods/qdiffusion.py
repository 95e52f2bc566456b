"""Q-Diffusion: roundings that are learned unit by unit, on states of the model's own drawing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from intaglio.shrink.unit_by_unit import UnitShrinker


@dataclass(frozen=True, kw_only=True)
class QDiffusion(UnitShrinker):
    """Q-Diffusion: learned roundings of one unit after the other, on states of every step of drawing.

    A unit is a residual block, a transformer block, the embedding of the time, or a single layer outside of them. Its
    weight w lies on ŵ = s·(clip(⌊w/s⌋ + h(α) + z, 0, 2^b-1) - z), h(α) = clip(1.2σ(α) - 0.1, 0, 1), where α begins at
    ŵ = w and is learned by Adam on the squared error of the unit's output, a sum over channels and a mean over
    positions, plus λΣ(1 - |2h-1|^β), β from 20 to 2 after a fifth of the iterations; at the end α >= 0 is the upper
    code. What the unit is given comes from the model as it is shrunk so far, what it is to give from the full model. s
    and z are chosen for each row by Σ|w-ŵ|^2.4, and in layers that take a skip connection apart for the two halves of
    their inputs: where these are of unequal width, for groups as wide as the greatest width that divides both. One of
    eight of the walks that it may learn from judges each unit: codes that do no better there than the nearest are not
    taken. Only weights are quantised; activations keep full precision.

    Source: arXiv 2302.04304; the roundings are those of arXiv 2004.10568.
    """

    bench: ClassVar[Sequence[Mapping[str, Any]]] = ({"bits": 4}, {"bits": 3}, {"bits": 2})
