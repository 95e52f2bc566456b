"""How many of the finds above a score would be there by chance, from finds where there is nothing to find."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from numpy.typing import ArrayLike


def q_values(found: ArrayLike, null: ArrayLike, *, scale: float = 1.0) -> Float[ndarray, "n"]:
    """The false-discovery rate at which each find is among those reported, in (0, 1]; it rises as scores fall.

    At a score s the rate is estimated by (1 + scale * finds of the null at s or above) / (finds at s or above), after
    the target-decoy method and its correction by one (Barber and Candes, Annals of Statistics 43, 2015, knockoff+); a
    find's q-value is the lowest of these at its own score or any below, so that reporting all finds with a q-value up
    to q keeps the expected share of false ones near q.

    Args:
        found: scores of the finds [n]; higher is more certain.
        null: scores of what the same search finds where there is nothing [m].
        scale: how many null finds a find by chance stands for: the effort of the search over that of the null's.

    Raises:
        ValueError: a scale that is not above 0.
    """
    if not scale > 0:
        raise ValueError(f"scale must be above 0, not {scale}")
    scores, empty = np.asarray(found, np.float64).ravel(), np.sort(np.asarray(null, np.float64).ravel())
    order = np.argsort(-scores, kind="stable")
    falling = scores[order]
    # Ties are reported together: the last of them counts them all.
    above = np.searchsorted(-falling, -falling, side="right")
    by_chance = scale * (len(empty) - np.searchsorted(empty, falling, side="left"))
    rates = np.minimum((1 + by_chance) / above, 1.0)
    lowest = np.minimum.accumulate(rates[::-1])[::-1]
    q = np.empty_like(scores)
    q[order] = lowest
    return q
