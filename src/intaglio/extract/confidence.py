"""Generations that a false-discovery rate needs."""

import math

from intaglio.errors import BadInput


def check_confidence(generations: int, fdr: float) -> None:
    """Raises `BadInput` for a rate that cannot be reached: no q-value lies below one in the base's groups and one,
    and there are at most as many groups as pictures.
    """
    if fdr * (generations + 1) < 1:
        raise BadInput(
            f"a false-discovery rate of {fdr:g} cannot be shown with {generations} generations; draw "
            f"{math.ceil(1 / fdr) - 1} or more (--generations), or ask for a higher rate (--fdr)"
        )
