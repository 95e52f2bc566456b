"""Answers of a classifier that sees selected pixels alone, beside a plain one; stored and read again.

`selected.safetensors` in the run's folder has all of it, with the masks in steps of 1 / 255; `labels.csv` a line a
label.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from numpy import ndarray
from torch import Tensor

from intaglio.explain.kept_labels import few_warnings
from intaglio.explain.probe_scores import Codes, balanced_accuracy, balanced_interval, difference_interval
from intaglio.metrics.statistics.interval import Interval
from intaglio.runs.stored_table import StoredTable

COLUMNS = ["label", "pictures", "right", "plain_right", "left_out_right", "area"]
ANSWERS = ("predicted", "plain", "seen", "left", "second")
ARRAYS = ("truth", "groups", *ANSWERS, "areas", "masks")
PLAIN = ("method", "reading", "column", "classes", "dropped", "grouped", "learnt", "allowed", "fill", "names")
BEYOND = 1.25
"""Mean area, as a share of that allowed, from which on it is said to be more."""


@dataclass(frozen=True, eq=False)
class SelectedPixels(StoredTable):
    """Masks of m held-out pictures, and what four ways to look at them answered."""

    file: ClassVar[str] = "selected.safetensors"
    table: ClassVar[str] = "labels.csv"
    remedy: ClassVar[str] = "give the same command again"

    method: str
    reading: str
    """Where the masks come from, as the end of a sentence."""
    column: str
    """Of the labels."""
    classes: tuple[str, ...]
    dropped: tuple[tuple[str, int], ...]
    """Labels of too few pictures, and how many those are."""
    grouped: bool
    learnt: int
    """Pictures that were learnt from."""
    allowed: float
    """Share of a picture that a mask may show."""
    fill: tuple[float, ...]
    """The colour that stands where a pixel is hidden, three numbers in [0, 1]."""
    names: tuple[str, ...]
    """Of the m pictures."""
    truth: Int[ndarray, "m"]
    groups: Int[ndarray, "m"]
    predicted: Int[ndarray, "m"]
    """Answers of the predictor on what is shown."""
    plain: Int[ndarray, "m"]
    """Of the plain classifier on whole pictures."""
    seen: Int[ndarray, "m"]
    """Of the plain classifier on what is shown."""
    left: Int[ndarray, "m"]
    """Of the plain classifier on what is left out."""
    second: Int[ndarray, "m"]
    """Of a classifier that learnt pictures without the pixels that masks show half or more of, on such pictures."""
    areas: Float[ndarray, "m"]
    """Mean of each mask."""
    masks: UInt8[ndarray, "m h w"]
    """In steps of 1 / 255."""

    @property
    def heading(self) -> str:
        """The result in a few words."""
        return f"{self.column} by {self.method}"

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return COLUMNS

    def share(self, answers: Codes) -> float:
        """Balanced accuracy of answers."""
        return balanced_accuracy(self.truth, answers)

    def share_interval(self, answers: Codes) -> Interval:
        """Of a balanced accuracy, 95%, by resampling groups of pictures."""
        return balanced_interval(self.truth, answers, self.groups)

    @property
    def accuracy(self) -> float:
        """Balanced accuracy of the predictor on what is shown."""
        return self.share(self.predicted)

    @cached_property
    def interval(self) -> Interval:
        """Of `accuracy`."""
        return self.share_interval(self.predicted)

    @property
    def difference(self) -> float:
        """The lead of the predictor over the plain classifier, which sees whole pictures."""
        return self.accuracy - self.share(self.plain)

    @cached_property
    def difference_interval(self) -> Interval:
        """Of `difference`, 95%, on the same pictures."""
        return difference_interval(self.truth, self.predicted, self.plain, self.groups)

    @cached_property
    def hidden_interval(self) -> Interval:
        """The predictor's lead over the plain classifier where both see what is shown, 95%."""
        return difference_interval(self.truth, self.predicted, self.seen, self.groups)

    @cached_property
    def second_interval(self) -> Interval:
        """Of the balanced accuracy of the second classifier."""
        return self.share_interval(self.second)

    @property
    def chance(self) -> float:
        """Balanced accuracy of a guess."""
        return 1 / len(self.classes)

    @property
    def area(self) -> float:
        """Mean area of the masks."""
        return float(self.areas.mean())

    @property
    def statement(self) -> str:
        """The outcome in sentences."""
        low, high = self.interval
        below, above = self.difference_interval
        return (
            f"{self.column} is named right for {self.accuracy:.2f} ({low:.2f} to {high:.2f}) of a label's held-out "
            f"pictures from {self.area:.0%} of their area, {self.difference:+.2f} ({below:+.2f} to {above:+.2f}) "
            "beside a plain classifier that sees all of it. From what is left out, that one names "
            f"{self.share(self.left):.2f} right, and one that was taught on the pixels that are not shown "
            f"{self.share(self.second):.2f}, where a guess names {self.chance:.2f}."
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """Reasons for which masks are not to be trusted."""
        counts = np.bincount(self.truth, minlength=len(self.classes)).tolist()
        found = few_warnings(self.column, self.classes, counts, self.dropped, self.grouped)
        if self.interval[0] <= self.chance:
            found.append(
                f"{self.column} is named right for {self.accuracy:.2f} from what the masks show, which these pictures "
                f"do not tell from a guess, {self.chance:.2f}; the masks then explain nothing"
            )
        if self.second_interval[0] > self.chance:
            found.append(
                f"pixels that are not shown still tell {self.column}: a classifier that was taught on them names "
                f"{self.share(self.second):.2f} right; the masks do not show all that matters"
            )
        if self.hidden_interval[0] > 0:
            found.append(
                f"the plain classifier names {self.share(self.seen):.2f} right by what the masks show, and the "
                f"predictor {self.accuracy:.2f}: it may read what a person does not see, such as faint pixels or the "
                "mask's shape"
            )
        if self.area > BEYOND * self.allowed:
            found.append(f"the masks show {self.area:.0%} of a picture, and {self.allowed:.0%} was allowed")
        return tuple(found)

    def shown(self, count: int) -> list[int]:
        """Places of so many pictures at most, of all labels by turns."""
        turns = np.zeros(len(self.truth), np.int64)
        for code in range(len(self.classes)):
            turns[self.truth == code] = np.arange((self.truth == code).sum())
        return np.lexsort((self.truth, turns))[:count].tolist()

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a label; the keys are `COLUMNS`: shares that are named right, and the mean area."""
        found = []
        for code, name in enumerate(self.classes):
            those = self.truth == code
            found.append(
                {
                    "label": name,
                    "pictures": int(those.sum()),
                    "right": float((self.predicted[those] == code).mean()),
                    "plain_right": float((self.plain[those] == code).mean()),
                    "left_out_right": float((self.second[those] == code).mean()),
                    "area": float(self.areas[those].mean()),
                }
            )
        return found

    def figures(self) -> dict[str, Any]:
        """Accuracies with their intervals, the chance of a guess, and the area."""
        return {
            "pictures": len(self.truth),
            "learnt": self.learnt,
            "labels": len(self.classes),
            "accuracy": self.accuracy,
            "interval": list(self.interval),
            "plain_accuracy": self.share(self.plain),
            "difference": self.difference,
            "difference_interval": list(self.difference_interval),
            "plain_on_shown": self.share(self.seen),
            "plain_on_left_out": self.share(self.left),
            "second_on_unshown": self.share(self.second),
            "second_interval": list(self.second_interval),
            "chance": self.chance,
            "area": self.area,
        }

    def _parts(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        about = {name: getattr(self, name) for name in PLAIN}
        return {name: torch.from_numpy(getattr(self, name).copy()) for name in ARRAYS}, about

    @classmethod
    def _of(cls, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> "SelectedPixels":
        arrays: dict[str, Any] = {name: tensors[name].numpy() for name in ARRAYS}
        classes, names = tuple(map(str, about["classes"])), tuple(map(str, about["names"]))
        fits = bool(names) and all(len(one) == len(names) for one in arrays.values()) and len(about["fill"]) == 3
        codes = [arrays[name] for name in ("truth", *ANSWERS)]
        if not fits or any(one.min() < 0 or one.max() >= len(classes) for one in codes):
            raise ValueError("the answers do not fit each other")
        texts = {name: str(about[name]) for name in ("method", "reading", "column")}
        dropped = tuple((str(name), int(count)) for name, count in about["dropped"])
        return cls(
            **texts, classes=classes, dropped=dropped, grouped=bool(about["grouped"]), learnt=int(about["learnt"]),
            allowed=float(about["allowed"]), fill=tuple(map(float, about["fill"])), names=names, **arrays,
        )  # fmt: skip
