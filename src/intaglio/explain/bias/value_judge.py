"""A classifier's shares of values in drawn pictures, and whether it still sees what they are of."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor

Shares = Callable[[Tensor], Float[Tensor, "n k"]]
"""Probabilities of k values in pictures [n, 3, h, w] in [0, 1]; they sum to 1 or, where there are others, to less."""
Seen = Callable[[Tensor], Float[Tensor, "n"]]
"""1 for pictures [n, 3, h, w] that are called what they should be, 0 for others."""


@dataclass(frozen=True)
class ValueJudge:
    """A classifier of the attribute whose values a model draws unevenly."""

    attribute: str
    """Its name, such as the head of the classifier."""
    values: tuple[str, ...]
    shares: Shares
    subjects: Mapping[str, Seen] = field(default_factory=dict)
    """Whether pictures show what their prompt asks for, by prompt; empty: unknown."""
