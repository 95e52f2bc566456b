"""The interval of a mean of few numbers by Student's distribution."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import t

from intaglio.metrics.statistics.interval import Interval


def mean_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """Bounds (low, high) of the mean of two numbers or more, as of a normal distribution of unknown deviation."""
    mean = float(np.mean(values))
    width = float(t.ppf((1 + level) / 2, len(values) - 1)) * float(np.std(values, ddof=1)) / len(values) ** 0.5
    return mean - width, mean + width
