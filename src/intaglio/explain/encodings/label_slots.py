"""Labels read from the numbers of each slot of an encoding, and from all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from intaglio.explain.encodings.noise_slots import NoiseSlots
from intaglio.explain.kept_labels import LEAST, kept_labels
from intaglio.explain.probe_scores import balanced_accuracy, balanced_interval, folds_of, plain_answers
from intaglio.metrics.statistics.interval import Interval


@dataclass(frozen=True, eq=False)
class LabelSlots:
    """The answers of probes of one column of labels, each on the numbers of one slot, the last on all numbers."""

    column: str
    classes: tuple[str, ...]
    truth: Int[ndarray, "m"]
    groups: Int[ndarray, "m"]
    predicted: Int[ndarray, "p m"]
    """The class of each picture by the probe of each slot, then of all numbers, fitted without the picture's fold."""

    @cached_property
    def accuracies(self) -> tuple[float, ...]:
        """Balanced accuracy of each slot, then of all numbers."""
        return tuple(balanced_accuracy(self.truth, one) for one in self.predicted)

    @cached_property
    def intervals(self) -> tuple[Interval, ...]:
        """Of 95%, by resampling groups of pictures."""
        return tuple(balanced_interval(self.truth, one, self.groups) for one in self.predicted)

    @property
    def best(self) -> int:
        """The slot that reads best by itself, the first of equals."""
        return int(np.argmax(self.accuracies[:-1]))

    @property
    def chance(self) -> float:
        """Balanced accuracy by chance."""
        return 1 / len(self.classes)


def label_slots(
    codes: Float[ndarray, "n z"],
    slots: NoiseSlots,
    labels: Mapping[str, Sequence[str]],
    groups: Sequence[str] | None,
    folds: int,
    strength: float,
    seed: int,
) -> tuple[LabelSlots, ...]:
    """Probes of each column that enough pictures have; raises `BadInput` where no column is left.

    Args:
        codes: of n pictures.
        slots: of the numbers.
        labels: texts by column, empty where a picture's is not known.
        groups: of pictures that stay in one fold.
        folds: from 2.
        strength: inverse strength C of the probes' penalty.
        seed: of the folds.
    """
    found = []
    for one in kept_labels(labels, groups, max(LEAST, folds)):
        fold = folds_of(one.codes, one.groups, folds, seed)
        parts = [codes[:, slots.place(k)] for k in range(len(slots.sizes))]
        answers = [plain_answers(part[one.rows], one.codes, fold, strength) for part in (*parts, codes)]
        found.append(LabelSlots(one.column, one.classes, one.codes, one.groups, np.array(answers)))
    return tuple(found)
