"""q-values of scores from a null sample: conformal p-values, adjusted by Benjamini and Hochberg."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from numpy.typing import ArrayLike
from scipy.stats import false_discovery_control

from intaglio.metrics.statistics.conformal import p_values


def q_values(found: ArrayLike, null: ArrayLike) -> Float[ndarray, "n"]:
    """The false-discovery rate at which each find is among those reported, in (0, 1]; it rises as scores fall.

    Conformal p-values of the finds against the null's, adjusted by Benjamini and Hochberg: reporting all finds with a
    q-value up to q keeps the expected share of false ones at q or below, where a false find and the null's are
    exchangeable (arXiv 2104.08279, theorem 2). No q-value lies below 1 / (m + 1).

    Args:
        found: scores of the finds [n]; higher is more certain.
        null: scores of what the same search finds where there is nothing [m]; without any, every q-value is 1.
    """
    scores = np.asarray(found, np.float64).ravel()
    return false_discovery_control(p_values(scores, null)) if scores.size else scores
