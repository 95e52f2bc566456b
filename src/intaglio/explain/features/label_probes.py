"""The outcome of the probes of one column of labels, in every cell of features."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from intaglio.explain.features.feature_cells import FeatureCell
from intaglio.explain.probe_scores import balanced_accuracy, balanced_interval
from intaglio.metrics.statistics.interval import Interval


@dataclass(frozen=True, eq=False)
class LabelProbes:
    """The probes of one column."""

    column: str
    classes: tuple[str, ...]
    dropped: tuple[tuple[str, int], ...]
    """Labels of too few pictures, and how many those are."""
    cells: tuple[FeatureCell, ...]
    numbers: tuple[int, ...]
    """Features of each cell."""
    names: tuple[str, ...]
    """Of the m pictures."""
    truth: Int[ndarray, "m"]
    """Their classes."""
    groups: Int[ndarray, "m"]
    folds: Int[ndarray, "m"]
    predicted: Int[ndarray, "c m"]
    """The class of each picture by the probe of each cell that was fitted without its fold."""
    chosen: Int[ndarray, "m"]
    """The same, by the probe of the cell that was chosen without its fold."""
    picks: tuple[int, ...]
    """The cell that was chosen for each fold."""
    strengths: tuple[float, ...]
    """Of regularisation: the commonest choice of each cell."""
    shuffles: tuple[tuple[float, ...], ...]
    """Balanced accuracy of each cell with shuffled labels, a row a shuffle."""

    @cached_property
    def accuracies(self) -> tuple[float, ...]:
        """Balanced accuracy of each cell."""
        return tuple(balanced_accuracy(self.truth, one) for one in self.predicted)

    @cached_property
    def intervals(self) -> tuple[Interval, ...]:
        """Of 95%, by resampling groups of pictures."""
        return tuple(balanced_interval(self.truth, one, self.groups) for one in self.predicted)

    @property
    def best(self) -> int:
        """The cell of the largest accuracy, the first of equals."""
        return int(np.argmax(self.accuracies))

    @cached_property
    def accuracy(self) -> float:
        """Balanced accuracy where the cell, too, is chosen without the rows that are asked about."""
        return balanced_accuracy(self.truth, self.chosen)

    @cached_property
    def interval(self) -> Interval:
        """Of `accuracy`, 95%."""
        return balanced_interval(self.truth, self.chosen, self.groups)

    @property
    def chance(self) -> float:
        """Balanced accuracy with shuffled labels, a mean over cells and shuffles; 1 / classes without any shuffles."""
        return float(np.mean(self.shuffles)) if self.shuffles else 1 / len(self.classes)

    @property
    def best_by_chance(self) -> float | None:
        """The largest accuracy of all cells with shuffled labels, a mean over shuffles; None without any."""
        return float(np.mean([max(one) for one in self.shuffles])) if self.shuffles else None

    @property
    def p(self) -> float | None:
        """Share of shuffles, the true order being one, whose best cell is as good as the best; None without any."""
        if not self.shuffles:
            return None
        reached = sum(max(one) >= self.accuracies[self.best] - 1e-12 for one in self.shuffles)
        return (1 + reached) / (1 + len(self.shuffles))

    @property
    def counts(self) -> tuple[int, ...]:
        """Pictures of each class."""
        return tuple(np.bincount(self.truth, minlength=len(self.classes)).tolist())

    @property
    def recalls(self) -> tuple[float, ...]:
        """Share of each class's pictures that is named right, with the cell chosen too."""
        return tuple(float((self.chosen[self.truth == one] == one).mean()) for one in range(len(self.classes)))
