"""Pareto fronts of points that are judged by several measures at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray


@dataclass(frozen=True, eq=False)
class Pareto:
    """Points, and for each measure whether more of it is better."""

    points: Float[ndarray, "n m"]
    larger_is_better: Sequence[bool]

    @property
    def gains(self) -> Float[ndarray, "n m"]:
        """The points with signs such that more is always better."""
        return self.points * np.where(np.asarray(self.larger_is_better), 1.0, -1.0)

    @property
    def front(self) -> Bool[ndarray, "n"]:
        """Points that no other one dominates: none is at least as good in all measures and better in one."""
        return np.asarray(~self.dominates.any(0))

    @property
    def dominates(self) -> Bool[ndarray, "n n"]:
        """Whether the point of the row dominates that of the column."""
        one, other = self.gains[:, None], self.gains[None]
        return np.asarray((one >= other).all(2) & (one > other).any(2))

    def hypervolume(self, reference: Sequence[float]) -> float:
        """Volume between the points and a reference point that they are better than, in all measures."""
        worst = np.asarray(reference) * np.where(np.asarray(self.larger_is_better), 1.0, -1.0)
        return _volume(self.gains[(self.gains > worst).all(1)], worst)


def _volume(points: Float[ndarray, "n m"], worst: Float[ndarray, "m"]) -> float:
    """By slices along the last measure."""
    if not len(points):
        return 0.0
    if points.shape[1] == 1:
        return float(points.max() - worst[0])
    heights = np.unique(points[:, -1])
    floors = np.concatenate([[worst[-1]], heights[:-1]])
    return sum(
        float(high - low) * _volume(points[points[:, -1] >= high, :-1], worst[:-1])
        for low, high in zip(floors, heights, strict=True)
    )
