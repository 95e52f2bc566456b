"""Feature choosers: the contract of a method that ranks features, and the surrogate that is fitted to the first."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.stats import rankdata

from intaglio.errors import require
from intaglio.explain.surrogate.black_box_rows import Ask, BlackBoxRows
from intaglio.explain.surrogate.column_clusters import clustered
from intaglio.explain.surrogate.fast_model import FastModel, permutation_drops
from intaglio.explain.surrogate.leaf_rules import LeafRule, fitted_tree, leaf_rules, nearest_crossing, place_of
from intaglio.explain.surrogate.result import ChosenFeature, Counterfactual, SurrogateRules
from intaglio.explain.surrogate.rule_fidelity import counts_of, fidelity_of, knee
from intaglio.randomness import numpy_generator
from intaglio.runs.plain_json import digest
from intaglio.runs.run import Run
from intaglio.runs.tensors import tensor_hash
from intaglio.verbs import FileName

KIND = "surrogate parts"
FOLDS = 3
"""Parts of the fitted rows, each of which is predicted by a tree of the others, for the curve."""
ASKED_ROWS = 200
"""Rows at most that the black box is asked about with one feature shuffled."""


@dataclass(frozen=True, eq=False)
class RankedColumns:
    """Features to choose from, one of each cluster, of the rows that a surrogate is fitted to."""

    features: Float[ndarray, "n c"]
    answers: Float[ndarray, "n k"]
    whole: Float[ndarray, "n d"]
    """All features."""
    members: tuple[Int[ndarray, "_"], ...]
    """Columns of `whole` in each candidate's cluster."""
    ask: Ask | None
    trees: int
    seed: int

    @cached_property
    def _split(self) -> tuple[Int[ndarray, "a"], Int[ndarray, "b"]]:
        order = numpy_generator(self.seed, 1).permutation(len(self.features))
        cut = len(order) * 2 // 3
        return np.sort(order[:cut]), np.sort(order[cut:])

    @cached_property
    def model(self) -> FastModel:
        """A forest that is fitted to two thirds of the rows."""
        rows = self._split[0]
        return FastModel(self.features[rows], self.answers[rows], self.trees, self.seed, "ranking")

    def drops(self, permutations: int) -> Float[ndarray, "c"]:
        """Rise of the squared error when a candidate is shuffled: of the black box, with its cluster, where it can be
        asked; else of the forest, on the rows that it was not fitted to.
        """
        rows = self._split[1][:ASKED_ROWS]
        source = numpy_generator(self.seed, 2)
        shuffles = np.stack([source.permutation(len(rows)) for _ in range(permutations)])
        if self.ask is not None:
            return permutation_drops(self.ask, self.whole[rows], self.answers[rows], shuffles, self.members)
        return self.model.drops(self.features[rows], self.answers[rows], shuffles)


@dataclass(frozen=True, kw_only=True)
class SurrogateChooser(ABC):
    """A ranking of features by what they tell of a black box, and a small tree that is fitted to the first of them.

    Features with |r| > `alike` are one cluster, in which the one that goes most with an answer stands for all. A
    regression tree is fitted to the black box's probabilities on the first k candidates; k is the knee of its fidelity
    in folds of the fitted rows, the least count with 0.95 of the largest. RuleFidelity is on held-out rows,
    R^2 = 1 - sum |p - q|^2 / sum |p - mean|^2, with probabilities p of the black box and q of the tree.
    Leaves are rules, with support and precision on held-out rows. A counterfactual is the smallest change, in
    deviations, that takes a row into a leaf of another class.
    """

    name = FileName()
    """The method's name, which is that of its file."""
    role: ClassVar[Literal["method", "baseline"]] = "method"
    """`baseline`: what others are measured against."""
    reading: ClassVar[str]
    """The order in words, as the end of a sentence that begins "Features are ranked by"."""

    count: int = 0
    """Features that are chosen, 1 or more; 0 takes the knee of fidelity."""
    most: int = 30
    """Features at most where the knee is looked for, 1 to 100."""
    depth: int = 5
    """Questions on the way to a leaf of the tree at most, 1 to 5."""
    leaf: int = 5
    """Rows of a leaf at least, from 1."""
    held_out: float = 0.3
    """Share of the rows that fidelity is measured on, 0.1 to 0.5."""
    alike: float = 0.9
    """|r| above which features are of one cluster, above 0 to 1; 1 makes every feature its own."""
    trees: int = 50
    """Trees of the forest that is the fast model of the black box, from 1."""
    counterfactuals: int = 6
    """Held-out rows that counterfactuals are told of, 0 or more."""
    seed: int = 0
    """Of the parts of the rows and of all that is drawn, 0 to 2**32 - 1."""

    def __post_init__(self) -> None:
        require(self.count >= 0, f"count must be 0 or more, not {self.count}")
        require(1 <= self.most <= 100, f"most must be 1 to 100, not {self.most}")
        require(1 <= self.depth <= 5, f"depth must be 1 to 5, not {self.depth}")
        require(self.leaf >= 1, f"leaf must be at least 1, not {self.leaf}")
        require(0.1 <= self.held_out <= 0.5, f"held_out must be 0.1 to 0.5, not {self.held_out}")
        require(0 < self.alike <= 1, f"alike must be above 0 and at most 1, not {self.alike}")
        require(self.trees >= 1, f"trees must be at least 1, not {self.trees}")
        require(self.counterfactuals >= 0, f"counterfactuals must be 0 or more, not {self.counterfactuals}")
        require(0 <= self.seed < 2**32, f"seed must be 0 to 2**32 - 1, not {self.seed}")

    @abstractmethod
    def scores(self, candidates: RankedColumns) -> Mapping[str, Float[ndarray, "c"]]:
        """Scores of the candidates by their names in words, the larger the more a feature tells; their ranks are
        averaged.
        """

    def __call__(self, rows: BlackBoxRows, *, run: Run = Run.none()) -> SurrogateRules:
        """The surrogate of a black box.

        Args:
            rows: n of them, 40 or more, with d features and k probabilities each.
            run: progress and records; a killed call goes on after its last part.

        Raises:
            BadInput: for rows that cannot be used (`BlackBoxRows.check`).
        """
        rows.check()
        fitted, held = self.parts(len(rows))
        chosen, belongs = clustered(rows.features[fitted], rows.probabilities[fitted], self.alike)
        answers = rows.probabilities[fitted]
        parts = _Parts(self, rows, run)
        counts = counts_of(self.most, len(chosen))
        with run.progress(len(counts) + 3, "parts", len(parts)) as progress:
            parts.advance = progress.advance
            members = tuple(np.flatnonzero(belongs == k) for k in range(len(chosen)))
            given = rows.features[fitted]
            candidates = RankedColumns(given[:, chosen], answers, given, members, rows.ask, self.trees, self.seed)
            scores = parts.of("ranking", lambda: {k: v.tolist() for k, v in self.scores(candidates).items()})
            order = order_of({name: np.array(one) for name, one in scores.items()})
            curve = {k: parts.of(f"curve {k}", lambda k=k: self._validated(candidates, order[:k])) for k in counts}
            taken = order[: min(self.count, len(chosen)) or knee(curve)]
            told = {
                name: parts.of(name, lambda columns=columns, name=name: self._forest(rows, fitted, held, columns, name))
                for name, columns in (
                    ("forest of the chosen", chosen[taken]),
                    ("forest of all", np.flatnonzero(belongs >= 0)),
                )
            }
        return self._result(rows, candidates, chosen[taken], taken, {"scores": scores, "curve": curve, **told})

    def parts(self, count: int) -> tuple[Int[ndarray, "a"], Int[ndarray, "b"]]:
        """Places of the fitted rows, and of the held-out ones."""
        order = numpy_generator(self.seed, 0).permutation(count)
        cut = count - max(2, round(self.held_out * count))
        return np.sort(order[:cut]), np.sort(order[cut:])

    def _validated(self, candidates: RankedColumns, columns: Int[ndarray, "c"]) -> float:
        """RuleFidelity of trees of the first features to rows of folds that they were not fitted to."""
        features, answers = candidates.features[:, columns], candidates.answers
        places = np.arange(len(answers)) % FOLDS
        found, means = np.empty(answers.shape), np.empty(answers.shape)
        for number in range(FOLDS):
            inside = places == number
            tree = fitted_tree(features[~inside], answers[~inside], self.depth, self.leaf, self.seed)
            found[inside], means[inside] = tree.predict(features[inside]), answers[~inside].mean(0)
        return float(1 - ((found - answers) ** 2).sum() / max(float(((means - answers) ** 2).sum()), 1e-300))

    def _forest(
        self,
        rows: BlackBoxRows,
        fitted: Int[ndarray, "a"],
        held: Int[ndarray, "b"],
        columns: Int[ndarray, "c"],
        label: str,
    ) -> float:
        """RuleFidelity of a forest of some columns on held-out rows."""
        answers = rows.probabilities
        model = FastModel(rows.features[fitted][:, columns], answers[fitted], self.trees, self.seed, label)
        told = model(rows.features[held][:, columns])
        mean = answers[fitted].mean(0)
        return float(1 - ((told - answers[held]) ** 2).sum() / max(float(((mean - answers[held]) ** 2).sum()), 1e-300))

    def _result(
        self,
        rows: BlackBoxRows,
        candidates: RankedColumns,
        columns: Int[ndarray, "k"],
        taken: Int[ndarray, "k"],
        told: Mapping[str, Any],
    ) -> SurrogateRules:
        fitted, held = self.parts(len(rows))
        mine, answers = rows.features[:, columns], rows.probabilities
        tree = fitted_tree(mine[fitted], answers[fitted], self.depth, self.leaf, self.seed)
        rules = leaf_rules(tree, mine[held], answers[held])
        deviations = mine[fitted].astype(np.float64).std(0)
        features = tuple(
            ChosenFeature(
                name=rows.columns[column],
                scores={name: float(one[place]) for name, one in told["scores"].items()},
                alike=tuple(rows.columns[k] for k in candidates.members[place] if k != column),
                deviation=float(deviations[number]),
                importance=float(tree.feature_importances_[number]),
            )
            for number, (column, place) in enumerate(zip(columns, taken, strict=True))
        )
        return SurrogateRules(
            method=self.name,
            reading=self.reading,
            classes=rows.classes,
            wide=len(rows.columns),
            clusters=len(candidates.members),
            gathered=sum(len(one) for one in candidates.members if len(one) > 1),
            alike=self.alike,
            asked=rows.ask is not None,
            features=features,
            rules=rules,
            counterfactuals=self._crossings(rows, held, columns, rules, deviations),
            curve=tuple(sorted(told["curve"].items())),
            fitted=len(fitted),
            held_out=len(held),
            fidelity=fidelity_of(tree.predict(mine[held]), answers[held], answers[fitted].mean(0)),
            forest=told["forest of the chosen"],
            ceiling=told["forest of all"],
            agreement=float((tree.predict(mine[held]).argmax(1) == answers[held].argmax(1)).mean()),
        )

    def _crossings(
        self,
        rows: BlackBoxRows,
        held: Int[ndarray, "b"],
        columns: Int[ndarray, "k"],
        rules: tuple[LeafRule, ...],
        deviations: Float[ndarray, "k"],
    ) -> tuple[Counterfactual, ...]:
        """Of held-out rows whose class the rules say, by turns of the classes."""
        called, seen = rows.called, dict[int, int]()
        turns: list[tuple[int, int]] = []
        for row in held:
            rule = rules[place_of(rules, rows.features[row, columns])]
            if rule.called == called[row]:
                seen[rule.called] = seen.get(rule.called, 0) + 1
                turns.append((seen[rule.called], int(row)))
        found = []
        for _, row in sorted(turns)[: self.counterfactuals]:
            one = nearest_crossing(rules, rows.features[row, columns], deviations, row)
            if one is None:
                continue
            moved = rows.features[[row]].copy()
            for column, (_, new) in one.moves.items():
                moved[0, columns[column]] = new
            says = None if rows.ask is None else rows.classes[int(rows.ask(moved)[0].argmax())]
            moves = {rows.columns[columns[column]]: ends for column, ends in one.moves.items()}
            before, after = rows.classes[int(called[row])], rows.classes[rules[one.leaf].called]
            found.append(Counterfactual(rows.names[row], before, after, one.distance, moves, says))
        return tuple(found)


def order_of(scores: Mapping[str, Float[ndarray, "c"]]) -> Int[ndarray, "c"]:
    """RankedColumns by the mean of their ranks under each score, the largest first; among equal ones the earlier."""
    ranks = [rankdata(-one) for one in scores.values()]
    return np.argsort(np.mean(ranks, 0), kind="stable")


class _Parts:
    """Parts of the work that are recorded by the run, each under the key of settings and rows."""

    def __init__(self, method: SurrogateChooser, rows: BlackBoxRows, run: Run):
        told = [tensor_hash(torch.from_numpy(one)) for one in (rows.features, rows.probabilities)]
        self._key = digest([method.name, asdict(method), told, rows.ask is not None])
        self._known = {name: one for name, one in run.recorded(KIND).items() if one["key"] == self._key}
        self._run = run
        self.advance = lambda: None

    def __len__(self) -> int:
        return len(self._known)

    def of(self, name: str, make: Any) -> Any:
        """A part, made where it is not known."""
        if name not in self._known:
            self._known[name] = {"key": self._key, "value": make()}
            self._run.record(KIND, name, self._known[name])
            self.advance()
        return self._known[name]["value"]
