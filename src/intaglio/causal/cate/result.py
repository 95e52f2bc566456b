"""Effects that differ between units: each unit's predicted effect and score; stored and read again.

`effects.safetensors` in the run's folder has them, and in its metadata a note of the rest; `effects.csv` has a line a
unit.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from intaglio.causal.cate.rank_weighted import Estimate, toc
from intaglio.runs.stored_table import StoredTable

FILE, TABLE = "effects.safetensors", "effects.csv"
ARRAYS = ("effects", "priority", "scores")
ESTIMATES = ("mean", "autoc", "qini", "slope")
COLUMNS = ["unit", "rank", "effect", "score", "treated"]
LEVEL = 0.05
"""Of the test that those ranked first gain more."""


@dataclass(frozen=True, eq=False, kw_only=True)
class UnitEffects(StoredTable):
    """Effects of units by one learner, each predicted by what was learnt from other units."""

    file: ClassVar[str] = FILE
    table: ClassVar[str] = TABLE
    remedy: ClassVar[str] = "the same command makes it again"

    method: str
    reading: str
    names: tuple[str, ...]
    treated: tuple[bool, ...]
    effects: Float[ndarray, "n"]
    """Predicted."""
    priority: Float[ndarray, "n"]
    """Share of the unit's own fold with smaller predicted effects, by which units are ranked."""
    scores: Float[ndarray, "n"]
    """Doubly robust scores, whose mean is the average effect."""
    mean: Estimate
    """Average effect."""
    autoc: Estimate
    qini: Estimate
    slope: Estimate
    """Of scores on predicted effects: 1 where the predictions are right in size, 0 where they tell nothing."""

    @property
    def heading(self) -> str:
        """The result in a few words."""
        return f"Effects by {self.method}"

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return COLUMNS

    @cached_property
    def ranks(self) -> tuple[int, ...]:
        """Rank of each unit by its priority, and among equal ones by predicted effect, from 1."""
        order = np.lexsort((-self.effects, -self.priority))
        found = np.empty(len(order), dtype=int)
        found[order] = np.arange(1, len(order) + 1)
        return tuple(found.tolist())

    @cached_property
    def curve(self) -> Float[ndarray, "n"]:
        """TOC at the shares 1/n, 2/n, ..., 1."""
        return toc(self.priority, self.scores)

    @property
    def statement(self) -> str:
        """The outcome in a sentence."""
        low, high = self.autoc.interval
        told = f"AUTOC {self.autoc.value:.3g} ({low:.3g} to {high:.3g}, p {self.autoc.p:.2g})"
        mean = f"the mean effect of {len(self.names):,} units is {self.mean.value:.3g}"
        if self.autoc.p > LEVEL:
            return f"No difference between units is shown: {told}; {mean}."
        return f"Those with larger predicted effects gain more: {told}; {mean}."

    @property
    def warnings(self) -> list[str]:
        """Sentences on what the result cannot be trusted for."""
        found = []
        if np.ptp(self.priority) == 0:
            return ["all units have the same predicted effect, so that none is ranked before another"]
        if self.autoc.p > LEVEL:
            found.append(
                "the ranking is not shown to tell who gains more than others; do not choose units by it, and do not "
                "take it as shown that all gain alike"
            )
        low, high = self.slope.interval
        if high < 1 or low > 1:
            found.append(
                f"predicted effects are too {'far apart' if high < 1 else 'near to each other'}: scores follow them "
                f"with a slope of {self.slope.value:.2f} ({low:.2f} to {high:.2f}), not 1"
            )
        return found

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a unit, the first ranked first; the keys are `COLUMNS`."""
        columns = zip(self.names, self.ranks, self.effects.tolist(), self.scores.tolist(), self.treated, strict=True)
        rows = [dict(zip(COLUMNS, one, strict=True)) for one in columns]
        return sorted(rows, key=lambda row: row["rank"])

    def shares(self) -> list[tuple[float, float, float]]:
        """By tenths of the units, the first ranked: the share, their mean score, and how much that is above all's."""
        count, mean = len(self.names), float(self.scores.mean())
        ends = [max(1, round(count * tenth / 10)) for tenth in range(1, 11)]
        return [(end / count, mean + float(self.curve[end - 1]), float(self.curve[end - 1])) for end in ends]

    def ends(self, most: int) -> dict[str, list[dict[str, Any]]]:
        """Rows of the first ranked and of the last ranked units; of the latter the last one first."""
        rows, count = self.rows(), min(most, len(self.names) // 2)
        return {"first": rows[:count], "last": rows[: -count - 1 : -1]}

    def figures(self) -> dict[str, Any]:
        """Counts and estimates."""
        found: dict[str, Any] = {"units": len(self.names), "treated": sum(self.treated)}
        for name in ("mean", "autoc", "qini", "slope"):
            one: Estimate = getattr(self, name)
            found |= {name: one.value, f"{name}_low": one.interval[0], f"{name}_high": one.interval[1]}
        return {**found, "p": self.autoc.p}

    def _parts(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        estimates = {name: [one.value, one.error] for name in ESTIMATES if (one := getattr(self, name))}
        about = {"method": self.method, "reading": self.reading, "names": self.names, "treated": self.treated}
        tensors = {name: torch.from_numpy(getattr(self, name).copy()) for name in ARRAYS}
        return tensors, {**about, **estimates}

    @classmethod
    def _of(cls, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> "UnitEffects":
        names, treated = tuple(map(str, about["names"])), tuple(map(bool, about["treated"]))
        effects, priority, scores = (tensors[name].double().numpy() for name in ARRAYS)
        if {len(names), len(treated), len(effects), len(priority)} != {len(scores)} or not names:
            raise ValueError("the effects do not fit the units")
        mean, autoc, qini, slope = (Estimate(*map(float, about[name])) for name in ESTIMATES)
        return cls(
            method=str(about["method"]), reading=str(about["reading"]), names=names, treated=treated,
            effects=effects, priority=priority, scores=scores, mean=mean, autoc=autoc, qini=qini, slope=slope,
        )  # fmt: skip
