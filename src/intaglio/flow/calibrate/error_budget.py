"""Deal an allowed error out to blocks so that together they take the least time."""

import math
from collections.abc import Sequence

from intaglio.flow.plan.decoder_plan import Choice

QUANTA = 48
"""Steps that the error is dealt out in."""


def dealt(options: Sequence[Sequence[Choice]], growth: Sequence[float], allowed: float) -> tuple[Choice, ...]:
    """One choice a block, of least total time, whose errors, each times its growth, sum to no more than is allowed.

    Errors are rounded up to quanta of what is allowed, so the sum never exceeds it; found by dynamic programming. Every
    block needs a choice without error.
    """
    best: dict[int, tuple[float, tuple[Choice, ...]]] = {0: (0.0, ())}
    for choices, grows in zip(options, growth, strict=True):
        further: dict[int, tuple[float, tuple[Choice, ...]]] = {}
        for spent, (seconds, taken) in best.items():
            for choice in choices:
                total = spent + math.ceil(choice.error * grows / allowed * QUANTA)
                reached = seconds + choice.seconds
                if total <= QUANTA and (total not in further or reached < further[total][0]):
                    further[total] = (reached, (*taken, choice))
        best = further
    return min(best.values(), key=lambda found: found[0])[1]
