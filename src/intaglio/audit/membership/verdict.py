"""Verdicts on questioned pictures from their scores and those of controls, with a stated false-positive rate."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from intaglio.audit.membership.combination import Signals, combine, combined_rank_test
from intaglio.metrics.statistics.conformal import RankTest, Threshold, called, p_values, rank_test, threshold
from intaglio.metrics.statistics.enough_controls import Sides
from intaglio.metrics.statistics.roc import Separation, separation


@dataclass(frozen=True)
class PictureVerdict:
    """One picture's verdict."""

    name: str
    score: float
    """NaN where the picture has no score."""
    p_value: float
    called: bool | None
    """Whether it is called "in the set"; None where no verdict is possible."""
    words: str


@dataclass(frozen=True)
class OtherPrompt:
    """The verdict under another prompt, compared with that under the audit's own."""

    prompt: str
    called: int
    """Questioned pictures that are called."""
    changed: int
    """Questioned pictures whose verdict changes."""
    pictures: int
    """Questioned pictures with a verdict under both."""


@dataclass(frozen=True, eq=False)
class Verdict:
    """Verdicts on the questioned pictures, with their threshold and the tests behind them."""

    rows: tuple[PictureVerdict, ...]
    """The questioned pictures, in their order."""
    controls: tuple[PictureVerdict, ...]
    """Each control against the others, by the same rule; those that are `called` are its errors."""
    threshold: Threshold
    set_test: RankTest
    """Rank test of the whole questioned set against the controls."""
    weights: dict[str, float]
    """Share of each signal, where several were combined; else the one score with share 1."""
    no_signal: str | None = None
    warnings: tuple[str, ...] = ()

    def evidence(self, rows: Sequence[PictureVerdict]) -> list[float]:
        """A number a picture that rises with the evidence for "in the set": the score, or -p where both sides count."""
        return [row.score if self.threshold.sides == "upper" else -row.p_value for row in rows]

    @property
    def statement(self) -> str:
        """The outcome in one or two sentences."""
        judged = [row for row in self.rows if row.called is not None]
        if not self.threshold.enough:
            return self.threshold.statement
        calls = sum(bool(row.called) for row in judged)
        by_chance = self.threshold.asked_rate * len(judged)
        return (
            f"{calls} of {len(judged)} pictures are called in the set; by chance alone about {by_chance:.1f} "
            f"would be; {self.threshold.statement}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without the pictures' further signals."""
        return {
            "rows": [asdict(row) for row in self.rows],
            "controls": [asdict(row) for row in self.controls],
            "threshold": asdict(self.threshold),
            "set_test": asdict(self.set_test),
            "weights": self.weights,
            "no_signal": self.no_signal,
            "statement": self.statement,
            "warnings": list(self.warnings),
        }


def judge(
    names: Sequence[str],
    scores: ArrayLike,
    control_names: Sequence[str],
    controls: ArrayLike,
    *,
    fpr: float = 0.05,
    seed: int = 0,
    sides: Sides = "upper",
) -> Verdict:
    """The verdict from one score.

    A picture is called when its conformal p-value is at most `fpr`: then at most that share of pictures that were not
    in the set, and are of the controls' kind, is called. With too few controls for the rate nothing is called.

    Args:
        names: names of the questioned pictures [m].
        scores: their scores [m], NaN for pictures that failed.
        control_names: names of the controls [n].
        controls: their scores [n]; controls that failed are left out, with a warning.
        fpr: the false-positive rate asked for, in (0, 1).
        seed: seed of the rank test's permutations, where it is not exact.
        sides: whether only high scores say "in the set", or those to both sides of the controls'.
    """
    tested, known = _flat(scores), _flat(controls)
    p, others = p_values(tested, known, sides), _against_the_rest(known, sides)
    test = rank_test(tested, known, seed=seed, sides=sides)
    return _verdict(names, tested, p, control_names, known, others, threshold(known, fpr, sides=sides), test)


def judge_combined(
    names: Sequence[str],
    signals: Signals,
    control_names: Sequence[str],
    controls: Signals,
    *,
    fpr: float = 0.05,
    seed: int = 0,
    folded: Collection[str] = (),
) -> Verdict:
    """The verdict from several signals; `intaglio.audit.membership.combination` explains why the rate still holds.

    A picture is called by its p-value. `threshold.value`, the threshold on the combined score, is there to be shown; a
    call also needs a score above it, which can only take calls away. Signals that are `folded` count by their distance
    from the middle, so that high combined scores alone say "in the set".
    """
    found = combine(signals, controls, folded)
    test = combined_rank_test(signals, controls, folded, seed=seed)
    matrix = {name: _flat(values) for name, values in controls.items()}
    others = []
    for i in range(len(found.controls)):
        rest = {name: np.delete(values, i) for name, values in matrix.items()}
        others.append(combine({name: values[i : i + 1] for name, values in matrix.items()}, rest, folded).p_values[0])
    bar = threshold(found.controls, fpr)
    return _verdict(
        names, found.scores, found.p_values, control_names, found.controls, np.array(others), bar, test, found.weights
    )


def separation_of(members: ArrayLike, holdouts: ArrayLike, *, seed: int = 0) -> Separation:
    """Separation of known members from known holdouts by their scores, with TPR at 1% and 5% FPR and intervals."""
    return separation(members, holdouts, rates=(0.01, 0.05), seed=seed)


def _against_the_rest(controls: NDArray, sides: Sides) -> NDArray:
    return np.array([p_values(controls[i : i + 1], np.delete(controls, i), sides)[0] for i in range(len(controls))])


def _verdict(
    names: Sequence[str],
    scores: NDArray,
    p: NDArray,
    control_names: Sequence[str],
    controls: NDArray,
    control_p: NDArray,
    bar: Threshold,
    test: RankTest,
    weights: dict[str, float] | None = None,
) -> Verdict:
    failed = [name for name, value in zip(control_names, controls, strict=True) if np.isnan(value)]
    warnings = [f"{len(failed)} controls have no score and are left out: {', '.join(failed)}"] if failed else []
    if without := [name for name, score in zip(names, scores, strict=True) if np.isnan(score)]:
        warnings.append(f"{len(without)} questioned pictures have no score and no verdict: {', '.join(without)}")
    if not bar.enough:
        warnings.append(bar.statement)
    return Verdict(
        rows=tuple(_row(*row, bar) for row in zip(names, scores, p, strict=True)),
        controls=tuple(_row(*row, bar) for row in zip(control_names, controls, control_p, strict=True)),
        threshold=bar,
        set_test=test,
        weights={"score": 1.0} if weights is None else weights,
        warnings=tuple(warnings),
    )


def _row(name: str, score: float, p: float, bar: Threshold) -> PictureVerdict:
    score, p = float(score), float(p)
    if np.isnan(score):
        return PictureVerdict(name, score, p, None, "no score, see the warnings")
    if bar.value is None:
        scored = f"{bar.controls} with a score" if bar.unscored else f"{bar.controls}"
        return PictureVerdict(name, score, p, None, f"too few controls: {scored} cannot support {bar.asked_rate:g}")
    if called([p], bar.asked_rate)[0] and bar.beyond(score):
        side = "above the upper" if score > bar.value else "below the lower"
        where = "" if bar.sides == "upper" else f", {side} threshold"
        return PictureVerdict(name, score, p, True, f"in the set{where} (p = {p:.3g})")
    return PictureVerdict(name, score, p, False, f"not shown to be in the set (p = {p:.3g})")


def _flat(values: ArrayLike) -> NDArray[np.float64]:
    """Scores as one row; an infinite one is none, as NaN is."""
    flat = np.asarray(values, dtype=np.float64).ravel()
    return np.where(np.isfinite(flat), flat, np.nan)
