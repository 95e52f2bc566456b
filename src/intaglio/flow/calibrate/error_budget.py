"""Allocation of an allowed error to blocks, so that together they take the least time."""

import math
from collections.abc import Sequence

from intaglio.flow.plan.decoder_plan import Choice

QUANTA = 48
"""Steps that the allowed error is divided into."""


def allocate(options: Sequence[Sequence[Choice]], growth: Sequence[float], allowed: float) -> tuple[Choice, ...]:
    """One choice a block, of least total time, whose errors, each times its growth, sum to no more than is allowed.

    Errors are rounded up to quanta of what is allowed, so the sum never exceeds it; found by dynamic programming over
    the quanta spent. Every block needs a choice without error.

    Args:
        options: choices of each block, with their seconds and errors.
        growth: of each block, how much its error grows until the pictures.
        allowed: largest error of the pictures, above 0.
    """
    best: dict[int, tuple[float, tuple[Choice, ...]]] = {0: (0.0, ())}
    for choices, factor in zip(options, growth, strict=True):
        further: dict[int, tuple[float, tuple[Choice, ...]]] = {}
        for spent, (seconds, chosen) in best.items():
            for choice in choices:
                total = spent + math.ceil(choice.error * factor / allowed * QUANTA)
                reached = seconds + choice.seconds
                if total <= QUANTA and (total not in further or reached < further[total][0]):
                    further[total] = (reached, (*chosen, choice))
        best = further
    return min(best.values(), key=lambda found: found[0])[1]
