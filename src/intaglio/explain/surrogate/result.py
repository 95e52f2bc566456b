"""A surrogate of a black box: the chosen features, rules, their fidelity and counterfactuals; stored and read again.

`surrogate.safetensors` in the run's folder has them; `features.csv` has a line a chosen feature, `rules.csv` one a
rule, and `counterfactuals.csv` one a value that would have to change.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from intaglio.explain.surrogate.leaf_rules import LeafRule
from intaglio.explain.surrogate.rule_fidelity import RuleFidelity
from intaglio.files import atomic_write
from intaglio.runs.stored_table import StoredTable
from intaglio.runs.tables import rows_csv

FILE, TABLE, RULES, CHANGES = "surrogate.safetensors", "features.csv", "rules.csv", "counterfactuals.csv"
COLUMNS = ["feature", "rank", "importance", "scores", "alike", "deviation"]
RULE_COLUMNS = ["rule", "class", "probability", "support", "rows", "precision"]
CHANGE_COLUMNS = ["row", "from", "to", "distance", "feature", "before", "after", "black_box_says"]
PLAIN = ("method", "reading", "classes", "wide", "clusters", "gathered", "alike", "asked", "fitted", "held_out",
         "forest", "ceiling", "agreement")  # fmt: skip
"""Fields of plain values."""
LOW, KEPT, FEW, CROWDED = 0.5, 0.9, 200, 0.5
"""RuleFidelity, share of a forest's fidelity, rows, and share of features with others alike, of which warnings are."""


@dataclass(frozen=True)
class ChosenFeature:
    """One feature of a surrogate."""

    name: str
    scores: Mapping[str, float]
    """What it was ranked by, by name."""
    alike: tuple[str, ...]
    """Other features of its cluster."""
    deviation: float
    """Over the fitted rows."""
    importance: float
    """Share of the fall of the tree's squared error by it; 0 where no rule asks for it."""


@dataclass(frozen=True)
class Counterfactual:
    """The smallest change by which the rules give a row another class."""

    row: str
    before: str
    """Class of the row."""
    after: str
    distance: float
    """Euclidean length of the change, in deviations."""
    moves: Mapping[str, tuple[float, float]]
    """Value before and after by feature."""
    says: str | None
    """What the black box calls the changed row; None where it cannot be asked."""


@dataclass(frozen=True, eq=False, kw_only=True)
class SurrogateRules(StoredTable):
    """Rules of a small tree on a few features of a black box's rows."""

    file: ClassVar[str] = FILE
    table: ClassVar[str] = TABLE
    remedy: ClassVar[str] = "the same command makes it again"

    method: str
    reading: str
    classes: tuple[str, ...]
    wide: int
    """Features that there are."""
    clusters: int
    """Clusters of these, without those that are the same in all rows."""
    gathered: int
    """Features of clusters of more than one."""
    alike: float
    """|r| above which features are of one cluster."""
    asked: bool
    """Whether the black box could be asked about changed rows."""
    features: tuple[ChosenFeature, ...]
    """In the order of their ranks."""
    rules: tuple[LeafRule, ...]
    """Leaves of the tree, whose columns are places in `features`."""
    counterfactuals: tuple[Counterfactual, ...]
    curve: tuple[tuple[int, float], ...]
    """Counts of features, and the fidelity of trees on them in folds of the fitted rows."""
    fitted: int
    held_out: int
    fidelity: RuleFidelity
    """Of the tree to held-out rows."""
    forest: float
    """RuleFidelity of a forest on the chosen features."""
    ceiling: float
    """RuleFidelity of a forest on all features."""
    agreement: float
    """Share of the held-out rows to which the tree gives the black box's class."""

    @property
    def heading(self) -> str:
        """The result in a few words."""
        return f"Surrogate by {self.method}"

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return COLUMNS

    @property
    def kept(self) -> float | None:
        """Share of a forest's fidelity that is left with the chosen features; None where it has none with all."""
        return self.forest / self.ceiling if self.ceiling > 0 else None

    @property
    def statement(self) -> str:
        """The outcome in a sentence."""
        one = self.fidelity
        return (
            f"{len(self.rules)} rules on {len(self.features)} of {self.wide:,} features tell {one.value:.2f} of the "
            f"variation of the black box's probabilities (R^2, {one.low:.2f} to {one.high:.2f}), and its class for "
            f"{self.agreement:.0%} of {self.held_out:,} held-out rows."
        )

    @cached_property
    def warnings(self) -> list[str]:
        """Sentences on what the result cannot be trusted for."""
        found = []
        if self.fidelity.low <= 0:
            found.append("the rules are not shown to tell more than the mean answer does; explain nothing by them")
        elif self.fidelity.value < LOW:
            found.append(
                f"the fidelity of the rules is low ({self.fidelity.value:.2f}): most of what the black box says is not "
                "in them"
            )
        if self.kept is not None and self.kept < KEPT:
            found.append(
                f"the chosen features leave a forest {self.kept:.2f} of the fidelity that it has with all; give a "
                "larger --count"
            )
        if self.gathered > CROWDED * self.wide:
            found.append(
                f"{self.gathered:,} of {self.wide:,} features go with another one (|r| above {self.alike:g}): a rule "
                "on one of them may as well be on those that the table names beside it"
            )
        if self.fitted + self.held_out < FEW:
            found.append(
                f"{self.fitted + self.held_out} rows are few: with other ones, other features and rules may be found"
            )
        return found

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a chosen feature, the first ranked first; the keys are `COLUMNS`."""
        return [
            {
                "feature": one.name,
                "rank": place,
                "importance": one.importance,
                "scores": "; ".join(f"{name} {score:.4g}" for name, score in one.scores.items()),
                "alike": "; ".join(one.alike),
                "deviation": one.deviation,
            }
            for place, one in enumerate(self.features, start=1)
        ]

    def rule_rows(self) -> list[dict[str, Any]]:
        """One mapping a rule, that of most held-out rows first; the keys are `RULE_COLUMNS`."""
        order = sorted(self.rules, key=lambda one: -one.rows)
        return [
            {
                "rule": self.text(one),
                "class": self.classes[one.called],
                "probability": max(one.answer),
                "support": one.rows / self.held_out,
                "rows": one.rows,
                "precision": one.precision,
            }
            for one in order
        ]

    def text(self, rule: LeafRule) -> str:
        """A rule in words, such as `a <= 0.5 and 1 < b <= 2`."""
        words = []
        for place, low, high in rule.bounds:
            left = "" if low == float("-inf") else f"{low:.4g} < "
            right = "" if high == float("inf") else f" <= {high:.4g}"
            name = self.features[place].name
            words.append(f"{name} > {low:.4g}" if left and not right else f"{left}{name}{right}")
        return " and ".join(words) or "always"

    def change_rows(self) -> list[dict[str, Any]]:
        """One mapping a value that would have to change; the keys are `CHANGE_COLUMNS`."""
        return [
            dict(
                zip(CHANGE_COLUMNS, (one.row, one.before, one.after, one.distance, name, *ends, one.says), strict=True)
            )
            for one in self.counterfactuals
            for name, ends in one.moves.items()
        ]

    def figures(self) -> dict[str, Any]:
        """Counts and fidelities."""
        return {
            "rows": self.fitted + self.held_out,
            "features": self.wide,
            "clusters": self.clusters,
            "chosen": len(self.features),
            "rules": len(self.rules),
            "fidelity": self.fidelity.value,
            "fidelity_low": self.fidelity.low,
            "fidelity_high": self.fidelity.high,
            "agreement": self.agreement,
            "forest_chosen": self.forest,
            "forest_all": self.ceiling,
            "kept": self.kept,
        }

    def save(self, folder: Path) -> None:
        """Writes the tables and the tensors into a folder, each atomically."""
        atomic_write(folder / RULES, rows_csv(self.rule_rows(), RULE_COLUMNS))
        atomic_write(folder / CHANGES, rows_csv(self.change_rows(), CHANGE_COLUMNS))
        super().save(folder)

    def _parts(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        about: dict[str, Any] = {name: getattr(self, name) for name in PLAIN}
        about |= {name: [asdict(one) for one in getattr(self, name)] for name in ("features", "counterfactuals")}
        about["fidelity"] = asdict(self.fidelity)
        about["counts"] = [[one.fitted, one.rows, one.right] for one in self.rules]
        bounds = [(k, *bound) for k, one in enumerate(self.rules) for bound in one.bounds]
        tensors = {
            "curve": torch.tensor(self.curve, dtype=torch.float64),
            "answers": torch.tensor([one.answer for one in self.rules], dtype=torch.float64),
            "bounds": torch.tensor(bounds, dtype=torch.float64).reshape(len(bounds), 4),
        }
        return tensors, about

    @classmethod
    def _of(cls, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> "SurrogateRules":
        plain: dict[str, Any] = {name: about[name] for name in PLAIN} | {"classes": tuple(map(str, about["classes"]))}
        features = tuple(ChosenFeature(**{**one, "alike": tuple(one["alike"])}) for one in about["features"])
        boxes: dict[int, list[tuple[int, float, float]]] = {}
        for rule, place, low, high in tensors["bounds"].tolist():
            boxes.setdefault(int(rule), []).append((int(place), low, high))
        answers = tensors["answers"].tolist()
        if len(answers) != len(about["counts"]) or any(len(one) != len(plain["classes"]) for one in answers):
            raise ValueError("the rules do not fit the classes")
        if any(not 0 <= place < len(features) for box in boxes.values() for place, _, _ in box):
            raise ValueError("the rules do not fit the features")
        rules = tuple(
            LeafRule(tuple(boxes.get(k, ())), tuple(answer), *map(int, counts))
            for k, (answer, counts) in enumerate(zip(answers, about["counts"], strict=True))
        )
        changes = tuple(
            Counterfactual(**{**one, "moves": {name: (float(a), float(b)) for name, (a, b) in one["moves"].items()}})
            for one in about["counterfactuals"]
        )
        curve = tuple((int(count), value) for count, value in tensors["curve"].tolist())
        return cls(
            **plain, features=features, rules=rules, counterfactuals=changes, curve=curve,
            fidelity=RuleFidelity(**about["fidelity"]),
        )  # fmt: skip
