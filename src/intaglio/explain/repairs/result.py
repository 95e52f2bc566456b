"""The result of a repair: how a classifier names pictures of each class and shortcut, before and after.

`repair.json` in the run's folder has all of it, `cells.csv` a line for each class and value of the shortcut.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from intaglio.metrics.statistics.interval import Interval, interval
from intaglio.printable import one_line
from intaglio.runs.json_table import JsonTable

COLUMNS = ["cell", "label", "shortcut", "pictures", "before", "after"]
LEAST = 5
"""Judging pictures of a cell below which it is not counted."""
FEW = 20
"""Judging pictures of the smallest cell below which the worst accuracy is said to rest on few."""
GONE = 0.5
"""Share of the gap above which it is said to be left."""
LOST = 0.02
"""Fall of the mean accuracy over cells from which on it is said to cost."""
CERTAIN = 0.05
"""Share of shuffles above which a shortcut is said not to move the score for certain."""
AT_ONCE = 50
"""Resamples that are scored together."""


@dataclass(frozen=True)
class ShortcutGap:
    """Rise of the score of one class from the shortcut's first value to its second, as a mean over classes."""

    before: float
    """Of the classifier as it was given."""
    after: float
    """After the repair."""
    p: float
    """Share of shuffles of the values within classes that move the score as far, before the repair."""


@dataclass(frozen=True)
class RepairedClassifier(JsonTable):
    """Answers of a classifier for judging pictures, before and after a repair."""

    file: ClassVar[str] = "repair.json"
    table: ClassVar[str] = "cells.csv"

    method: str
    reading: str
    head: str
    classes: tuple[str, ...]
    column: str
    """Name of the shortcut."""
    values: tuple[str, ...]
    """Its two values."""
    target: str
    """The class whose score the shortcut moves most."""
    grouped: bool
    chosen_by: int
    """Pictures that chose the change."""
    names: tuple[str, ...]
    """Of the judging pictures."""
    cells: tuple[int, ...]
    """Of each: twice the place of its class, and that of its value."""
    groups: tuple[int, ...]
    before: tuple[int, ...]
    """Places of the classes that they are called."""
    after: tuple[int, ...]
    gap: ShortcutGap
    offset: float
    """Number that was added to the bias of `target`."""
    others: tuple[tuple[str, float], ...]
    """The network's other heads, with the share of the judging pictures that each calls otherwise after the repair."""
    cut: tuple[tuple[str, str, float], ...]
    """Source, target and effect of each edge that was cut."""
    share: float
    """Share of all edges that were cut."""

    @property
    def heading(self) -> str:
        """The result in a few words."""
        return f"{self.column} out of {self.head} by {self.method}"

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return COLUMNS

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a cell that is counted; the keys are `COLUMNS`."""
        found = []
        for cell, count, before, after in zip(self._counted, self._counts, *self._accuracies, strict=True):
            label, value = self.classes[cell // 2], self.values[cell % 2]
            told = {"cell": self._name(cell), "label": label, "shortcut": value, "pictures": int(count)}
            found.append({**told, "before": float(before), "after": float(after)})
        return found

    @property
    def worst(self) -> tuple[float, float]:
        """Accuracy of the worst cell, before and after."""
        before, after = self._accuracies
        return float(before.min()), float(after.min())

    @property
    def mean(self) -> tuple[float, float]:
        """Mean accuracy over cells, before and after."""
        before, after = self._accuracies
        return float(before.mean()), float(after.mean())

    @cached_property
    def gain_interval(self) -> Interval:
        """Of the rise of the worst accuracy, 95%, by resampling groups of the judging pictures."""
        places = np.unique(self.groups, return_inverse=True)[1]
        hits, counts = (
            np.zeros((2, places.max() + 1, len(self._counted))),
            np.zeros((places.max() + 1, len(self._counted))),
        )
        for group, cell, *right in zip(places, self.cells, *self._right, strict=True):
            if cell in self._counted:
                column = self._counted.index(cell)
                counts[group, column] += 1
                hits[:, group, column] += right

        def gains(drawn: ndarray) -> Float[ndarray, "b"]:
            there = np.where(counts[drawn].sum(1) > 0, counts[drawn].sum(1), np.nan)
            before, after = (np.nanmin(one[drawn].sum(1) / there, 1) for one in hits)
            return after - before

        return interval(gains, [np.arange(len(counts))], batch=AT_ONCE)

    @property
    def statement(self) -> str:
        """The outcome in sentences."""
        (first, before), (last, after) = (self._worst_cell(one) for one in self._accuracies)
        low, high = self.gain_interval
        mean_before, mean_after = self.mean
        many = "edge" if len(self.cut) == 1 else "edges"
        cut = f"With {len(self.cut)} {many} cut, {self.share:.1%} of all, the" if self.cut else "The"
        return (
            f"{cut} worst of {len(self._counted)} cells, a class with a value of {one_line(self.column)}, is named "
            f"right in {after:.2f} of its pictures ({last}), before in {before:.2f} ({first}); the rise is {low:+.2f} "
            f"to {high:+.2f}. The mean cell is named right in {mean_after:.2f}, before in {mean_before:.2f}. Of "
            f"{self._moved:.2f} by which {one_line(self.column)} moves the score of {one_line(self.target)}, "
            f"{abs(self.gap.after):.2f} is left."
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """Reasons for which the repair is not to be trusted."""
        found = []
        left = [k for k in range(2 * len(self.classes)) if k not in self._counted]
        if left:
            few = "; ".join(self._name(k) for k in left[:5])
            more = f"; and {len(left) - 5} more" if len(left) > 5 else ""
            found.append(
                f"of these a repair may be bad and it would not show, as they have fewer than {LEAST} judging "
                f"pictures: {few}{more}"
            )
        if self._counts.min() < FEW:
            found.append(
                f"the smallest cell has {int(self._counts.min())} judging pictures, so that the worst accuracy rests "
                "on few; give more pictures in which the shortcut does not go with the class"
            )
        if abs(self.gap.after) > GONE * self._moved:
            found.append("more than half of the shortcut's effect on the score is left; take another method")
        if self.gap.p > CERTAIN:
            found.append(
                f"{one_line(self.column)} does not surely move the score (p {self.gap.p:.2f} by shuffles within "
                "classes): there may be nothing to repair"
            )
        low, high = self.gain_interval
        if high < 0:
            found.append("the worst cell is named worse than before")
        elif low <= 0:
            found.append("the worst cell is not named better for certain: the interval of its rise has 0 in it")
        if changed := [f"{one_line(name)} ({share:.0%})" for name, share in self.others if share > 0]:
            found.append(
                "other heads share the layers that were changed, and call some pictures otherwise: "
                f"{', '.join(changed)}"
            )
        if self.mean[1] < self.mean[0] - LOST:
            found.append("the mean accuracy over cells has fallen: the repair costs more than the shortcut did")
        return tuple(found)

    def figures(self) -> dict[str, Any]:
        """Accuracies, gaps and what was cut."""
        low, high = self.gain_interval
        return {
            "worst_before": self.worst[0],
            "worst_after": self.worst[1],
            "gain_low": low,
            "gain_high": high,
            "mean_before": self.mean[0],
            "mean_after": self.mean[1],
            "gap_before": self.gap.before,
            "gap_after": self.gap.after,
            "gap_p": self.gap.p,
            "offset": self.offset,
            "other_heads_changed": dict(self.others),
            "cut": len(self.cut),
            "cut_share": self.share,
            "pictures": len(self.names),
        }

    def _name(self, cell: int) -> str:
        return f"{one_line(self.classes[cell // 2])}, {one_line(self.values[cell % 2])}"

    def _worst_cell(self, accuracies: Float[ndarray, "k"]) -> tuple[str, float]:
        """Name and accuracy of the worst cell."""
        place = int(accuracies.argmin())
        return self._name(self._counted[place]), float(accuracies[place])

    @property
    def _moved(self) -> float:
        return abs(self.gap.before)

    @cached_property
    def _counted(self) -> list[int]:
        numbers, counts = np.unique(self.cells, return_counts=True)
        return numbers[counts >= LEAST].tolist()

    @cached_property
    def _counts(self) -> ndarray:
        return np.array([self.cells.count(cell) for cell in self._counted])

    @cached_property
    def _right(self) -> tuple[ndarray, ndarray]:
        truth = np.array(self.cells) // 2
        return np.array(self.before) == truth, np.array(self.after) == truth

    @cached_property
    def _accuracies(self) -> tuple[ndarray, ndarray]:
        cells = np.array(self.cells)
        before, after = (np.array([one[cells == cell].mean() for cell in self._counted]) for one in self._right)
        return before, after

    @classmethod
    def _of(cls, stored: Mapping[str, Any]) -> "RepairedClassifier":
        classes, values, names = (tuple(map(str, stored[name])) for name in ("classes", "values", "names"))
        cells, groups, before, after = (
            tuple(map(int, stored[name])) for name in ("cells", "groups", "before", "after")
        )
        method, reading, head, column, target = (
            str(stored[name]) for name in ("method", "reading", "head", "column", "target")
        )
        gap = ShortcutGap(*(float(stored["gap"][name]) for name in ("before", "after", "p")))
        offset, share = float(stored["offset"]), float(stored["share"])
        others = tuple((str(name), float(one)) for name, one in stored["others"])
        cut = tuple((str(a), str(b), float(c)) for a, b, c in stored["cut"])
        found = cls(
            method, reading, head, classes, column, values, target, bool(stored["grouped"]), int(stored["chosen_by"]),
            names, cells, groups, before, after, gap, offset, others, cut, share,
        )  # fmt: skip
        if len({len(one) for one in (names, cells, groups, before, after)}) != 1 or len(found.values) != 2:
            raise ValueError("answers do not fit the pictures")
        if not found._counted or not 0 <= min(found.cells) <= max(found.cells) < 2 * len(found.classes):
            raise ValueError("cells do not fit the classes")
        return found
