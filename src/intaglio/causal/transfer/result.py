"""Predictions in an environment that was held out: stored and read again.

`transfer.safetensors` in the run's folder has the probabilities, and in its metadata a note of the rest; `transfer.csv`
has a line a row of the target.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from intaglio.metrics.statistics.interval import Interval, interval
from intaglio.runs.stored_table import StoredTable

FILE, TABLE = "transfer.safetensors", "transfer.csv"
ZERO, REFITTED, LABELLED = "zero-shot", "refitted", "labelled"
STAGES = (ZERO, REFITTED, LABELLED)
"""Before any row of the target, with its rows, and with some of their outcomes."""
PLAIN = ("method", "reading", "refits", "target", "names", "environments", "classes", "common", "agreement")
AGREE = 0.8
"""Weak mean correlation of two trainings below which the result warns."""


@dataclass(frozen=True)
class LeftOut:
    """One of the known environments, predicted from the others."""

    environment: str
    rows: int
    accuracy: float
    """Share of its rows that are predicted right."""
    common: float
    """The same by the most common class of the others."""


@dataclass(frozen=True, eq=False, kw_only=True)
class TransferPredictions(StoredTable):
    """Outcomes of the target's rows by one method, stage by stage."""

    file: ClassVar[str] = FILE
    table: ClassVar[str] = TABLE
    remedy: ClassVar[str] = "the same command makes it again"

    method: str
    reading: str
    refits: str
    """Changed by the target's rows, in words; empty for nothing."""
    target: str
    names: tuple[str, ...]
    """Of the m rows of the target."""
    environments: tuple[str, ...]
    """Learnt from."""
    classes: tuple[str, ...]
    common: int
    """The most common class of the environments that were learnt from."""
    agreement: Mapping[str, float]
    """Weak mean correlation of each set of latent causes between two trainings; empty where none were compared."""
    truth: Int[ndarray, "m"]
    """Class of each row: -1 where it is not known, the number of classes for one that no other environment has."""
    labelled: Bool[ndarray, "m"]
    """Whether the outcome was learnt from, so that the row is not judged."""
    stages: Mapping[str, Float[ndarray, "m c"]]
    """Probabilities of classes by stage, those that were done in the order of `STAGES`."""
    left_out: tuple[LeftOut, ...]

    @property
    def heading(self) -> str:
        """The result in a few words."""
        return f"{self.target} by {self.method}"

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return ["row", "predicted", "probability", *self.stages, "outcome", "learnt"]

    @property
    def last(self) -> str:
        """The last stage, whose predictions are the result."""
        return list(self.stages)[-1]

    @property
    def judged(self) -> Bool[ndarray, "m"]:
        """Whether a row's outcome is known, and was not learnt from."""
        return (self.truth >= 0) & ~self.labelled

    def right(self, stage: str) -> Float[ndarray, "j"]:
        """1 for each judged row that is predicted right, else 0."""
        return (self.stages[stage].argmax(1) == self.truth)[self.judged].astype(float)

    @cached_property
    def accuracy(self) -> dict[str, float]:
        """Share of judged rows that are predicted right, by stage; empty where none is judged."""
        return {stage: float(self.right(stage).mean()) for stage in self.stages} if self.judged.any() else {}

    @cached_property
    def balanced(self) -> dict[str, float]:
        """Mean over the classes of the judged rows of the share of theirs that is predicted right, by stage."""
        truth = self.truth[self.judged]
        return {
            stage: float(np.mean([self.right(stage)[truth == one].mean() for one in np.unique(truth)]))
            for stage in self.accuracy
        }

    @cached_property
    def intervals(self) -> dict[str, Interval]:
        """Of `accuracy`, 95%, by resampling rows."""
        return {stage: _mean_interval(self.right(stage)) for stage in self.accuracy}

    @cached_property
    def common_accuracy(self) -> float | None:
        """Share of judged rows that are of the known environments' most common class; None where none is judged."""
        return float((self.truth[self.judged] == self.common).mean()) if self.judged.any() else None

    def gain(self, stage: str) -> Interval:
        """95% interval of how much more accurate a stage is than zero-shot, on the same rows."""
        return _mean_interval(self.right(stage) - self.right(ZERO))

    @property
    def statement(self) -> str:
        """The outcome in a sentence."""
        from_ = f"{self.target}, predicted from {', '.join(self.environments)}"
        taught = int(self.labelled.sum())
        if not self.accuracy and taught:
            return (
                f"{from_}: all {taught:,} outcomes of it that are known were learnt from; predictions of "
                f"{len(self.names):,} rows are not judged."
            )
        if not self.accuracy:
            return f"{from_}: no outcome of it is known; predictions of {len(self.names):,} rows are not judged."
        told = ", ".join(
            f"{stage} {one:.0%} ({self.intervals[stage][0]:.0%} to {self.intervals[stage][1]:.0%})"
            for stage, one in self.accuracy.items()
        )
        count, common = int(self.judged.sum()), self.common_accuracy
        learnt = f" after {taught:,} outcomes of it were learnt" if taught else ""
        return (
            f"{from_}: {told} of {count:,} rows are right{learnt}; the class that is most common elsewhere has "
            f"{common:.0%}."
        )

    @property
    def warnings(self) -> list[str]:
        """Sentences on what the result cannot be trusted for."""
        found = []
        if self.labelled.any() and not self.judged.any():
            found.append(
                "all known outcomes of the target were learnt from, and none is left to judge by; lower --labelled"
            )
        if len(taught := set(self.truth[self.labelled].tolist())) == 1 and self.labelled.sum() > 1:
            found.append(
                f"all outcomes of the target that were learnt are {self.classes[taught.pop()]}; they say nothing of "
                "the other classes there"
            )
        if unseen := int((self.truth == len(self.classes)).sum()):
            found.append(
                f"{unseen} rows of the target have an outcome that no other environment has; none of them can be "
                "predicted right"
            )
        if self.common_accuracy is not None and self.intervals[self.last][0] <= self.common_accuracy:
            found.append(
                f"the predictions are not shown to be right more often than {self.classes[self.common]}, the most "
                "common class elsewhere, is"
            )
        for stage in list(self.accuracy)[1:]:
            if self.gain(stage)[1] < 0:
                found.append(
                    f"{stage} predictions are right less often than zero-shot ones; what holds the environments apart "
                    "is not what the method takes it for"
                )
        found += [
            f"two trainings agree on {name} by {value:.2f} (weak mean correlation, 1 is full): what it holds is not "
            "determined by the rows, and is not to be read as a cause"
            for name, value in self.agreement.items()
            if value < AGREE
        ]
        return found

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a row of the target; the keys are `columns`."""
        named = [*self.classes, ""]
        last = self.stages[self.last]
        said = {stage: [named[k] for k in one.argmax(1)] for stage, one in self.stages.items()}
        return [
            {
                "row": name,
                "predicted": said[self.last][k],
                "probability": float(last[k].max()),
                **{stage: one[k] for stage, one in said.items()},
                "outcome": "" if self.truth[k] < 0 else named[self.truth[k]],
                "learnt": bool(self.labelled[k]),
            }
            for k, name in enumerate(self.names)
        ]

    def figures(self) -> dict[str, Any]:
        """Counts, accuracies with intervals, and agreement."""
        found: dict[str, Any] = {"rows": len(self.names), "judged": int(self.judged.sum())}
        for stage in self.accuracy:
            key = stage.replace("-", "_")
            low, high = self.intervals[stage]
            found |= {f"accuracy_{key}": self.accuracy[stage], f"accuracy_{key}_low": low, f"accuracy_{key}_high": high}
            found[f"balanced_{key}"] = self.balanced[stage]
        found |= {} if self.common_accuracy is None else {"accuracy_common": self.common_accuracy}
        found |= {f"left_out_{one.environment}": one.accuracy for one in self.left_out}
        return {**found, **{f"agreement_{name.lower()}": value for name, value in self.agreement.items()}}

    def _parts(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        about = {name: getattr(self, name) for name in PLAIN}
        about["left_out"] = [[one.environment, one.rows, one.accuracy, one.common] for one in self.left_out]
        tensors = {stage: torch.from_numpy(one.copy()) for stage, one in self.stages.items()}
        return {**tensors, "truth": torch.from_numpy(self.truth), "taught": torch.from_numpy(self.labelled)}, about

    @classmethod
    def _of(cls, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> "TransferPredictions":
        names, classes = tuple(map(str, about["names"])), tuple(map(str, about["classes"]))
        stages = {stage: tensors[stage].numpy() for stage in STAGES if stage in tensors}
        truth, labelled = tensors["truth"].numpy(), tensors["taught"].numpy()
        shape = (len(names), len(classes))
        if any(one.shape != shape for one in stages.values()) or ZERO not in stages or len(truth) != len(names):
            raise ValueError("the predictions do not fit the rows")
        return cls(
            method=str(about["method"]), reading=str(about["reading"]), refits=str(about["refits"]),
            target=str(about["target"]), names=names, environments=tuple(map(str, about["environments"])),
            classes=classes, common=int(about["common"]), truth=truth, labelled=labelled, stages=stages,
            agreement={str(name): float(value) for name, value in about["agreement"].items()},
            left_out=tuple(LeftOut(str(a), int(b), float(c), float(d)) for a, b, c, d in about["left_out"]),
        )  # fmt: skip


def _mean_interval(values: Float[ndarray, "n"]) -> Interval:
    return interval(lambda drawn: drawn.mean(-1), [values])
