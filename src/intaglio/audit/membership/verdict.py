"""Scores of questioned pictures and of controls become a verdict with a stated false-positive rate."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from intaglio.audit.membership.combination import Signals, combine, combined_rank_test
from intaglio.metrics.statistics.conformal import RankTest, Threshold, called, p_values, rank_test, threshold
from intaglio.metrics.statistics.roc import Separation, separation

SWAPPED_P = 0.01
"""Below this the questioned pictures' gaps lie so far under the controls' that the models seem to be swapped."""
NO_SIGNAL_ERRORS = 2.0
"""Standard errors by which the mean gap of the questioned pictures must stand out to count as signal."""


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
    """What becomes of the verdict under other words."""

    prompt: str
    called: int
    """Questioned pictures that are called."""
    changed: int
    """Questioned pictures whose verdict is another than under the audit's own prompt."""
    pictures: int
    """Questioned pictures with a verdict under both."""


@dataclass(frozen=True, eq=False)
class Verdict:
    """What is said of the questioned pictures, and how far it can be trusted."""

    rows: tuple[PictureVerdict, ...]
    """Of the questioned pictures, in their order."""
    controls: tuple[PictureVerdict, ...]
    """Each control against the others, by the same rule; `called` counts as the rule's mistakes."""
    threshold: Threshold
    set_test: RankTest
    """Of the whole questioned set against the controls."""
    weights: dict[str, float]
    """Share of each signal, where several were combined; else the one score with share 1."""
    no_signal: str | None = None
    warnings: tuple[str, ...] = ()

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
) -> Verdict:
    """A verdict on each questioned picture from one score.

    A picture is called when its conformal p-value is at most `fpr`: then at most that share of pictures that were not
    in the set, and are of the controls' kind, is called. With too few controls for the rate nothing is called.

    Args:
        names: of the questioned pictures [m].
        scores: their scores [m], NaN for pictures that failed.
        control_names: of the controls [n].
        controls: their scores [n]; controls that failed are left out, with a warning.
        fpr: the asked false-positive rate, in (0, 1).
        seed: of the rank test, where it is not exact.
    """
    tested, known = _flat(scores), _flat(controls)
    p = p_values(tested, known)
    return _verdict(
        names, tested, p, control_names, known, _against_the_rest(known), fpr, rank_test(tested, known, seed=seed)
    )


def judge_combined(
    names: Sequence[str],
    signals: Signals,
    control_names: Sequence[str],
    controls: Signals,
    *,
    fpr: float = 0.05,
    seed: int = 0,
) -> Verdict:
    """The same from several signals at once; see `intaglio.audit.membership.combination` for why the rate still holds.

    The verdict is by the p-value. `threshold.value` is where it lies on the combined score, to show it, and a call
    also needs a score above it, which can only take calls away.
    """
    found = combine(signals, controls)
    test = combined_rank_test(signals, controls, seed=seed)
    matrix = {name: _flat(values) for name, values in controls.items()}
    others = []
    for i in range(len(found.controls)):
        rest = {name: np.delete(values, i) for name, values in matrix.items()}
        others.append(combine({name: values[i : i + 1] for name, values in matrix.items()}, rest).p_values[0])
    return _verdict(
        names, found.scores, found.p_values, control_names, found.controls, np.array(others), fpr, test, found.weights
    )


def separation_of(members: ArrayLike, holdouts: ArrayLike, *, seed: int = 0) -> Separation:
    """How well scores tell known members from known holdouts, with TPR at 1% and 5% FPR and intervals."""
    return separation(members, holdouts, rates=(0.01, 0.05), seed=seed)


def loss_difference_warnings(questioned: ArrayLike, controls: ArrayLike) -> tuple[tuple[str, ...], str | None]:
    """What the gaps of the untouched pictures say of the models: (warnings, the reason for "no signal" or None).

    The gap is the base's denoising error less the suspect's. Fine-tuning lowers it for other pictures, so a negative
    mean alone is no alarm; questioned pictures far below the controls are.
    """
    tested, known = _flat(questioned), _flat(controls)
    tested, known = tested[~np.isnan(tested)], known[~np.isnan(known)]
    if not tested.size:
        return (), None
    lower = rank_test(-tested, -known).p_value
    below = lower is not None and lower < SWAPPED_P if known.size else _errors_from(tested, 0.0) < -3
    if tested.mean() < 0 and below:
        return ("the base fits these pictures better than the suspect: are --suspect and --base swapped?",), None
    reference = known.mean() if known.size else 0.0
    if tested.size > 2 and _errors_from(tested, reference, known) < NO_SIGNAL_ERRORS:
        return (), (
            "compared with the base, the suspect denoises the questioned pictures no better than the controls; "
            "either they were not in the set, or the fine-tune was too weak to leave a trace"
        )
    return (), None


def _errors_from(values: NDArray, reference: float, others: NDArray | None = None) -> float:
    """Distance of the mean from a reference in standard errors (Welch's, where the reference is a mean itself)."""
    if values.size < 2:
        return 0.0
    variance = values.var(ddof=1) / values.size
    if others is not None and others.size > 1:
        variance += others.var(ddof=1) / others.size
    return float((values.mean() - reference) / max(np.sqrt(variance), 1e-30))


def _against_the_rest(controls: NDArray) -> NDArray:
    return np.array([p_values(controls[i : i + 1], np.delete(controls, i))[0] for i in range(len(controls))])


def _verdict(
    names: Sequence[str],
    scores: NDArray,
    p: NDArray,
    control_names: Sequence[str],
    controls: NDArray,
    control_p: NDArray,
    fpr: float,
    test: RankTest,
    weights: dict[str, float] | None = None,
) -> Verdict:
    bar = threshold(controls, fpr)
    failed = [name for name, value in zip(control_names, controls, strict=True) if np.isnan(value)]
    warnings = [f"{len(failed)} controls have no score and are left out: {', '.join(failed)}"] if failed else []
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
        return PictureVerdict(
            name, score, p, None, f"too few controls: {bar.controls} cannot support {bar.asked_rate:g}"
        )
    if called([p], bar.asked_rate)[0] and score > bar.value:
        return PictureVerdict(name, score, p, True, f"in the set (p = {p:.3g})")
    return PictureVerdict(name, score, p, False, f"not shown to be in the set (p = {p:.3g})")


def _flat(values: ArrayLike) -> NDArray[np.float64]:
    return np.asarray(values, dtype=np.float64).ravel()
