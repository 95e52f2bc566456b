"""The result of probes of features: their accuracy by cell and label; stored and read again.

`probes.safetensors` in the run's folder has classes, folds and answers as arrays of integers, and in its metadata a
note of the rest; `probes.csv` has a line a label and cell.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from intaglio.explain.features.feature_cells import FeatureCell
from intaglio.explain.features.label_probes import LabelProbes
from intaglio.explain.kept_labels import few_warnings
from intaglio.runs.stored_table import StoredTable

FILE, TABLE = "probes.safetensors", "probes.csv"
COLUMNS = ["cell", "label", "site", "timestep", "features", "accuracy", "low", "high", "shuffled", "strength"]
ARRAYS = ("truth", "groups", "folds", "predicted", "chosen")
LEVEL = 0.05
"""Of the comparison with shuffled labels."""


@dataclass(frozen=True, eq=False)
class FeatureProbes(StoredTable):
    """Accuracy of labels that are read from the features of one method."""

    file: ClassVar[str] = FILE
    table: ClassVar[str] = TABLE
    remedy: ClassVar[str] = "the same command probes the features again"

    method: str
    reading: str
    pictures: int
    grouped: bool
    """Whether groups of pictures were given, which stay in one fold."""
    settled: bool
    """Whether all fits ended."""
    labels: tuple[LabelProbes, ...]
    """A column of labels each."""

    @property
    def heading(self) -> str:
        """The result in a few words."""
        return f"Labels read from features by {self.method}"

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return COLUMNS

    @property
    def statement(self) -> str:
        """The outcome in a sentence a column."""
        return " ".join(_statement(one) for one in self.labels)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Reasons for which an answer is not to be trusted."""
        found = [sentence for one in self.labels for sentence in _warnings(one, self.grouped)]
        if not self.settled:
            found.append("some fits did not end in their steps; give smaller --strengths")
        return tuple(found)

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a label and cell; the keys are `COLUMNS`. `shuffled` is the mean with shuffled labels."""
        return [
            {
                "cell": cell.name,
                "label": one.column,
                "site": cell.site,
                "timestep": cell.timestep,
                "features": one.numbers[place],
                "accuracy": one.accuracies[place],
                "low": one.intervals[place][0],
                "high": one.intervals[place][1],
                "shuffled": _mean([each[place] for each in one.shuffles]),
                "strength": one.strengths[place],
            }
            for one in self.labels
            for place, cell in enumerate(one.cells)
        ]

    def figures(self) -> dict[str, Any]:
        """Pictures and cells, and by label the accuracy with its interval, the best cell and chance."""
        labels = {
            one.column: {
                "accuracy": one.accuracy,
                "interval": list(one.interval),
                "best": one.cells[one.best].name,
                "best_accuracy": one.accuracies[one.best],
                "chance": one.chance,
                "best_by_chance": one.best_by_chance,
                "p": one.p,
                "classes": len(one.classes),
                "pictures": len(one.truth),
            }
            for one in self.labels
        }
        return {"pictures": self.pictures, "cells": len(self.labels[0].cells), "labels": labels}

    def _parts(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        about = {name: getattr(self, name) for name in ("method", "reading", "pictures", "grouped", "settled")}
        plain = ("column", "classes", "dropped", "numbers", "names", "picks", "strengths", "shuffles")
        about["labels"] = [
            {name: getattr(one, name) for name in plain} | {"cells": [asdict(cell) for cell in one.cells]}
            for one in self.labels
        ]
        arrays = {
            f"{name}.{number}": torch.from_numpy(getattr(one, name).copy())
            for number, one in enumerate(self.labels)
            for name in ARRAYS
        }
        return arrays, about

    @classmethod
    def _of(cls, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> "FeatureProbes":
        labels = tuple(_label(number, one, tensors) for number, one in enumerate(about["labels"]))
        if not labels:
            raise ValueError("there is no label")
        method, reading = str(about["method"]), str(about["reading"])
        return cls(method, reading, int(about["pictures"]), bool(about["grouped"]), bool(about["settled"]), labels)


def _label(number: int, stored: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> LabelProbes:
    arrays = {name: tensors[f"{name}.{number}"].numpy() for name in ARRAYS}
    cells = tuple(
        FeatureCell(str(one["site"]), None if one["timestep"] is None else int(one["timestep"]))
        for one in stored["cells"]
    )
    classes, names = tuple(map(str, stored["classes"])), tuple(map(str, stored["names"]))
    shuffles = tuple(tuple(map(float, one)) for one in stored["shuffles"])
    fits = arrays["predicted"].shape == (len(cells), len(names)) and bool(cells) and len(names) > 0
    fits &= all(len(arrays[name]) == len(names) for name in ("truth", "groups", "folds", "chosen"))
    fits &= all(len(one) == len(cells) for one in (stored["numbers"], stored["strengths"], *shuffles))
    if not fits or min(arrays["truth"].min(), arrays["folds"].min()) < 0 or arrays["truth"].max() >= len(classes):
        raise ValueError(f"the answers of label {number} do not fit each other")
    return LabelProbes(
        str(stored["column"]), classes, tuple((str(name), int(count)) for name, count in stored["dropped"]), cells,
        tuple(map(int, stored["numbers"])), names, arrays["truth"], arrays["groups"], arrays["folds"],
        arrays["predicted"], arrays["chosen"], tuple(map(int, stored["picks"])),
        tuple(map(float, stored["strengths"])), shuffles,
    )  # fmt: skip


def _statement(one: LabelProbes) -> str:
    low, high = one.interval
    told = (
        f"{one.column} is named right for {one.accuracy:.2f} ({low:.2f} to {high:.2f}) of a label's pictures, a mean "
    )
    told += "over labels"
    if one.shuffles:
        told += f", and with shuffled labels for {one.chance:.2f}"
    if len(one.cells) > 1:
        cell = one.cells[one.best].name
        told += f"; the best of {len(one.cells)} cells, {cell}, has {one.accuracies[one.best]:.2f}"
    return f"{told}."


def _warnings(one: LabelProbes, grouped: bool) -> list[str]:
    """Sentences about one column."""
    found = few_warnings(one.column, one.classes, one.counts, one.dropped, grouped)
    if one.p is None:
        found.append(f"nothing says how often {one.column} would be named right by chance; give --shuffles 20 or more")
    elif 1 / (1 + len(one.shuffles)) > LEVEL and one.p <= 1 / (1 + len(one.shuffles)):
        found.append(
            f"no shuffle has {one.column} named as well as it is, but {len(one.shuffles)} are too few to tell chance; "
            "give --shuffles 20 or more"
        )
    elif one.p > LEVEL:
        found.append(
            f"{one.column} is named no better than shuffled labels are, as far as {len(one.shuffles)} shuffles tell "
            f"(p {one.p:.2f}): the best cell has {one.accuracies[one.best]:.2f}, and with shuffled labels the best "
            f"has {one.best_by_chance:.2f}"
        )
    return found


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
