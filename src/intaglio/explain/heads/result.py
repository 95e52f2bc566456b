"""The result of a readable head: its accuracy beside a linear head's, and how much of it a person reads.

`heads.safetensors` in the run's folder has classes, folds and answers as arrays, and in its metadata a note of the
rest; `heads.csv` has a line a label. Where the network was trained, `network.safetensors` is the trained one, which
`--network` reads.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from intaglio.explain.heads.fitted_head import HeadExplanation
from intaglio.explain.heads.tuned_network import ANSWERS, NetworkAnswers, TunedNetwork
from intaglio.explain.kept_labels import few_warnings
from intaglio.explain.probe_scores import balanced_accuracy, balanced_interval, difference_interval, resampled_interval
from intaglio.metrics.statistics.interval import Interval
from intaglio.runs.stored_table import StoredTable

FILE, TABLE = "heads.safetensors", "heads.csv"
COLUMNS = ["label", "pictures", "right", "linear_right", "size"]
BEFORE = ["right_before", "linear_right_before"]
"""Further columns where the network was trained."""
ARRAYS = ("truth", "groups", "folds", "predicted", "linear", "sizes", "by_level")
PLAIN = ("method", "kind", "reading", "features_of", "column", "classes", "dropped", "grouped", "names", "shape",
         "levels")  # fmt: skip
LEAST_ABOVE = 1.5
"""Times chance that the linear head must reach, for a share of its accuracy to say something."""


@dataclass(frozen=True, eq=False, kw_only=True)
class HeadReadings(StoredTable):
    """Answers of a head and of the linear one for the same pictures in the same folds."""

    file: ClassVar[str] = FILE
    table: ClassVar[str] = TABLE
    remedy: ClassVar[str] = "the same command fits the heads again"

    method: str
    kind: str
    """Family of self-interpretable networks: attribution, function, concept, prototype or rule."""
    reading: str
    features_of: str
    """What the features are, in words."""
    column: str
    """Of the labels."""
    classes: tuple[str, ...]
    dropped: tuple[tuple[str, int], ...]
    """Labels of too few pictures, and how many those are."""
    grouped: bool
    names: tuple[str, ...]
    """Of the m pictures."""
    shape: tuple[int, ...]
    """Places of a picture, and features of each."""
    levels: tuple[float, ...]
    """Shares of numbers left out at which the head was asked; none where it has no such choice."""
    truth: Int[ndarray, "m"]
    groups: Int[ndarray, "m"]
    folds: Int[ndarray, "m"]
    predicted: Int[ndarray, "m"]
    """The class of each picture by the head that was fitted without its fold."""
    linear: Int[ndarray, "m"]
    """The same by the linear head."""
    sizes: Float[ndarray, "m"]
    """Numbers that a person reads for each picture."""
    by_level: Int[ndarray, "l m"]
    """Answers at each level."""
    head: HeadExplanation
    """What the head of all pictures is made of."""
    tuned: TunedNetwork | None = None
    """The network that was trained before heads were fitted to its features; None where these stayed as they were."""

    @property
    def heading(self) -> str:
        """The result in a few words."""
        return f"{self.column} by {self.method}"

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return COLUMNS if self.tuned is None else [*COLUMNS, *BEFORE]

    @property
    def places(self) -> int:
        """Count of the places of a picture."""
        return self.shape[0]

    @property
    def numbers(self) -> int:
        """Count of the features of a place."""
        return self.shape[1]

    @cached_property
    def accuracy(self) -> float:
        """Balanced accuracy."""
        return balanced_accuracy(self.truth, self.predicted)

    @cached_property
    def interval(self) -> Interval:
        """Of `accuracy`, 95%, by resampling groups of pictures."""
        return balanced_interval(self.truth, self.predicted, self.groups)

    @cached_property
    def linear_accuracy(self) -> float:
        """Balanced accuracy of the linear head."""
        return balanced_accuracy(self.truth, self.linear)

    @property
    def difference(self) -> float:
        """The lead of the head over the linear one."""
        return self.accuracy - self.linear_accuracy

    @cached_property
    def difference_interval(self) -> Interval:
        """Of `difference`, 95%, on the same pictures."""
        return difference_interval(self.truth, self.predicted, self.linear, self.groups)

    @property
    def chance(self) -> float:
        """Balanced accuracy of a guess."""
        return 1 / len(self.classes)

    @property
    def size(self) -> float:
        """Mean numbers that a person reads for a picture."""
        return float(self.sizes.mean())

    @cached_property
    def level_accuracies(self) -> tuple[float, ...]:
        """Balanced accuracy at each level."""
        return tuple(balanced_accuracy(self.truth, one) for one in self.by_level)

    @property
    def readable(self) -> bool:
        """Whether the linear head is so far above chance that a share of its accuracy says something."""
        return self.linear_accuracy >= LEAST_ABOVE * self.chance - 1e-12

    @property
    def iis(self) -> float | None:
        """Area under accuracy over that of the linear head by level, up to the last level; None without levels, and
        where the linear head is no better than 1.5 times chance.
        """
        if not self.levels or not self.readable:
            return None
        return kept_area(self.level_accuracies, self.linear_accuracy, self.levels)

    @cached_property
    def iis_interval(self) -> Interval | None:
        """Of `iis`, 95%, by resampling groups of pictures."""
        if self.iis is None:
            return None

        def area(found: ndarray) -> ndarray:
            shares = found[:-1] / np.maximum(found[-1], 1e-9)
            return np.trapezoid(shares, self.levels, axis=0)

        return resampled_interval(self.truth, [*self.by_level, self.linear], self.groups, area)

    def of(self, answers: NetworkAnswers) -> "HeadReadings":
        """The same pictures with the answers by features of other weights."""
        given: dict[str, Any] = {name: getattr(answers, name) for name in ANSWERS}
        return replace(self, tuned=None, **given)

    @property
    def networks(self) -> tuple[tuple[str, "HeadReadings"], ...]:
        """Readings by the network as it was, after the plain training, and after that through concepts; none where it
        was not trained.
        """
        if self.tuned is None:
            return ()
        others = ("untouched", self.of(self.tuned.untouched)), ("trained without concepts", self.of(self.tuned.plain))
        return (*others, ("trained through concepts", self))

    def iis_gain(self, other: "HeadReadings") -> tuple[float, Interval] | None:
        """The lead of `iis` over that of other answers for the same pictures, with its 95% interval; None where one of
        them has none.
        """
        if self.iis is None or other.iis is None:
            return None
        count = len(self.levels) + 1

        def gain(found: ndarray) -> ndarray:
            mine, theirs = (one[:-1] / np.maximum(one[-1], 1e-9) for one in (found[:count], found[count:]))
            return np.trapezoid(mine - theirs, self.levels, axis=0)

        answers = [*self.by_level, self.linear, *other.by_level, other.linear]
        return self.iis - other.iis, resampled_interval(self.truth, answers, self.groups, gain)

    @property
    def statement(self) -> str:
        """The outcome in sentences."""
        low, high = self.interval
        below, above = self.difference_interval
        told = f"{self.column} is named right for {self.accuracy:.2f} ({low:.2f} to {high:.2f}) of a label's pictures"
        if self.method != "linear-head":
            told += f", {self.difference:+.2f} ({below:+.2f} to {above:+.2f}) beside the linear head"
        told += f"; a person reads {_number(self.size)} for a picture: {self.reading}."
        if self.iis is not None and self.iis_interval is not None:
            told += (
                f" Its interpretability score is {self.iis:.2f} ({self.iis_interval[0]:.2f} to "
                f"{self.iis_interval[1]:.2f}), of {self.levels[-1]:.2f} where nothing is lost."
            )
        return f"{told} {self._change}" if self.tuned else told

    @property
    def _change(self) -> str:
        """Sentence on what the training did."""
        (_, before), (_, plain), _ = self.networks
        few = f"{self.accuracy:.2f} in place of {before.accuracy:.2f} by few concepts"
        many = f"{self.linear_accuracy:.2f} in place of {before.linear_accuracy:.2f} by the linear head"
        told = f"On {len(self.names):,} held-out pictures the training through concepts gives {few} and {many}"
        if gained := self.iis_gain(before):
            low, high = gained[1]
            told += f", and a score that differs by {gained[0]:+.2f} ({low:+.2f} to {high:+.2f})"
        score = "no score" if plain.iis is None else f"a score of {plain.iis:.2f}"
        return (
            f"{told}; the same training without concepts gives {plain.accuracy:.2f}, {plain.linear_accuracy:.2f} and "
            f"{score}."
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """Reasons for which an answer is not to be trusted."""
        counts = np.bincount(self.truth, minlength=len(self.classes)).tolist()
        found = few_warnings(self.column, self.classes, counts, self.dropped, self.grouped)
        if self.interval[0] <= self.chance:
            found.append(
                f"{self.column} is named right for {self.accuracy:.2f}, which these pictures do not tell from a guess, "
                f"{self.chance:.2f}; what the head is made of then explains nothing"
            )
        if self.levels and not self.readable:
            found.append(
                f"the linear head names {self.column} right for {self.linear_accuracy:.2f}, less than {LEAST_ABOVE} "
                f"times a guess, {self.chance:.2f}, so that no interpretability score is told; take features or labels "
                "that it reads"
            )
        return tuple(found + self._no_gain)

    @property
    def _no_gain(self) -> list[str]:
        """Sentences on a training that did not do what it is for."""
        found = list[str]()
        if self.tuned is None:
            return found
        (_, before), (_, plain), _ = self.networks
        gains = [self.iis_gain(one) for one in (before, plain)]
        for gained, other in zip(
            gains, ("of the untouched network", "after the same training without concepts"), strict=True
        ):
            if gained and gained[1][0] <= 0:
                found.append(
                    f"the interpretability score is not above that {other}, as far as {len(self.truth)} held-out "
                    "pictures can tell"
                )
        low, high = difference_interval(self.truth, self.linear, before.linear, self.groups)
        if high < 0:
            found.append(
                f"the linear head is worse than on the untouched network ({low:+.2f} to {high:+.2f}); give fewer "
                "--epochs, a lower --learning-rate, or more pictures"
            )
        return found

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a label; the keys are `COLUMNS`: shares that are named right, and the mean size."""
        found = []
        before = self.networks[0][1] if self.tuned else None
        for code, name in enumerate(self.classes):
            those = self.truth == code
            row = {"label": name, "pictures": int(those.sum()), "size": float(self.sizes[those].mean())}
            row |= {"right": _share(self.predicted, those, code), "linear_right": _share(self.linear, those, code)}
            if before:
                shares = (_share(one, those, code) for one in (before.predicted, before.linear))
                row |= dict(zip(BEFORE, shares, strict=True))
            found.append(row)
        return found

    def figures(self) -> dict[str, Any]:
        """Accuracies with their intervals, the size of the explanation, and the interpretability score."""
        levels = dict(zip(map(str, self.levels), self.level_accuracies, strict=True))
        return {
            "pictures": len(self.truth),
            "labels": len(self.classes),
            "kind": self.kind,
            "accuracy": self.accuracy,
            "interval": list(self.interval),
            "linear_accuracy": self.linear_accuracy,
            "difference": self.difference,
            "difference_interval": list(self.difference_interval),
            "chance": self.chance,
            "size": self.size,
            "iis": self.iis,
            "iis_interval": None if self.iis_interval is None else list(self.iis_interval),
            "iis_of_most": None if self.iis is None else self.iis / self.levels[-1],
            "accuracy_by_level": levels or None,
            "tuned": self._tuned_figures(),
        }

    def _tuned_figures(self) -> dict[str, Any] | None:
        """Figures by each network, with the gains of the score; None where the network was not trained."""
        if self.tuned is None:
            return None
        (_, before), (_, plain), _ = self.networks
        named = ("untouched", before), ("plain", plain), ("through", self)
        found: dict[str, Any] = {"learnt": self.tuned.learnt}
        for name, one in named:
            found[name] = {"accuracy": one.accuracy, "linear_accuracy": one.linear_accuracy, "iis": one.iis}
        for name, other in named[:2]:
            gained = self.iis_gain(other)
            found[f"iis_over_{name}"] = gained and [gained[0], *gained[1]]
        return found

    def save(self, folder: Path) -> None:
        """Writes the result, and a trained network, into a folder, each atomically."""
        super().save(folder)
        if self.tuned is not None:
            self.tuned.save(Path(folder), {"method": self.method, "labels": self.column})

    def _parts(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        about = {name: getattr(self, name) for name in PLAIN} | {"head": self.head.plain(), "tuned": None}
        tensors = {name: torch.from_numpy(getattr(self, name).copy()) for name in ARRAYS}
        if self.tuned is not None:
            further, about["tuned"] = self.tuned.parts()
            tensors |= further
        return tensors, about

    @classmethod
    def _of(cls, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> "HeadReadings":
        arrays: dict[str, Any] = {name: tensors[name].numpy() for name in ARRAYS}
        classes, names = tuple(map(str, about["classes"])), tuple(map(str, about["names"]))
        levels = tuple(map(float, about["levels"]))
        fits = bool(names) and all(len(arrays[name]) == len(names) for name in ARRAYS if name != "by_level")
        fits = fits and arrays["by_level"].shape == (len(levels), len(names))
        if not fits or arrays["truth"].min() < 0 or arrays["truth"].max() >= len(classes):
            raise ValueError("the answers do not fit each other")
        texts = {name: str(about[name]) for name in ("method", "kind", "reading", "features_of", "column")}
        dropped = tuple((str(name), int(count)) for name, count in about["dropped"])
        return cls(
            **texts, classes=classes, dropped=dropped, grouped=bool(about["grouped"]), names=names,
            shape=tuple(map(int, about["shape"])), levels=levels, head=HeadExplanation.of(about["head"]),
            tuned=None if about["tuned"] is None else TunedNetwork.of(tensors, about["tuned"]), **arrays,
        )  # fmt: skip


def _share(answers: Int[ndarray, "m"], those: Bool[ndarray, "m"], code: int) -> float:
    return float((answers[those] == code).mean())


def kept_area(accuracies: tuple[float, ...], linear: float, levels: tuple[float, ...]) -> float:
    """Area by trapezoids under accuracy / linear accuracy over the levels."""
    return float(np.trapezoid(np.array(accuracies) / linear, levels))


def network_lines(found: HeadReadings) -> list[tuple[str, str, str, str]]:
    """A line a network where it was trained: its name, accuracy of the linear head and by few concepts, and score."""
    return [
        (name, f"{one.linear_accuracy:.2f}", f"{one.accuracy:.2f}", "-" if one.iis is None else f"{one.iis:.2f}")
        for name, one in found.networks
    ]


def _number(size: float) -> str:
    count = f"{size:.0f}" if abs(size - round(size)) < 0.05 else f"{size:.1f}"
    return f"{count} number" if count == "1" else f"{count} numbers"
