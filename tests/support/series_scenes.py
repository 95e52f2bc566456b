"""Short series whose class one point tells, and a small method's settings."""

from typing import Any

import torch

from intaglio.explain.series.labelled_series import LabelledSeries
from intaglio.explain.series.result import ExplainedPoints

SMALL: dict[str, Any] = {"width": 16, "updates": 4, "rows": 16, "draws": 1, "batch": 64}
LONGER: dict[str, Any] = {**SMALL, "updates": 120, "learning_rate": 5e-3, "window": 1}
TIME, CHANNEL = 1, 0
"""The point that tells the class."""


def small(count: int = 24, height: float = 3.0) -> LabelledSeries:
    """Five times of two channels in noise; every second series is high at the point."""
    values = torch.randn(count, 5, 2, generator=torch.Generator().manual_seed(0))
    values[::2, TIME, CHANNEL] += height
    values[1::2, TIME, CHANNEL] -= height
    labels = tuple("ab"[k % 2] for k in range(count))
    return LabelledSeries(tuple(f"s{k}" for k in range(count)), values, labels, ("x", "y"))


def check_the_point_comes_first(method: Any) -> ExplainedPoints:
    """A method finds the planted point, and the checks say so; what it found."""
    found = method(small(120, 4.0))
    means = found.importances.mean(0)
    assert divmod(int(means.argmax()), 2) == (TIME, CHANNEL)
    assert found.accuracy > 0.85
    assert found.gained.mean() > 0.1
    assert found.swap_auc > 0.65
    assert (found.first_times() == TIME).mean() > 0.5
    return found
