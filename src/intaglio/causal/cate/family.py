"""Effect learners: the contract of a method that predicts each unit's effect, and how the predictions are judged."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.stats import rankdata

from intaglio.causal.cate.outcome_model import OutcomeModel
from intaglio.causal.cate.rank_weighted import Estimate, rank_weighted
from intaglio.causal.cate.result import UnitEffects
from intaglio.causal.cate.robust_scores import folds_of, robust_scores
from intaglio.causal.cate.trial_units import TrialUnits
from intaglio.errors import BadInput, require
from intaglio.runs.plain_json import digest
from intaglio.runs.run import Run
from intaglio.verbs import FileName

Effects = Callable[[Float[ndarray, "m d"]], Float[ndarray, "m"]]
"""Features to predicted effects."""
KIND = "folds"


@dataclass(frozen=True, kw_only=True)
class EffectLearner(ABC):
    """A way to predict the effect of a treatment on each unit of a randomised trial, from features.

    Every unit's effect is predicted from units of other folds, and ranked within its own. Predictions are judged by
    doubly robust scores G = m1 - m0 + (W - e) / (e (1 - e)) (Y - m_W), with outcomes m of each arm by ridge regression
    on the other folds, and the known propensity e: their mean is the average effect whatever m is.
    """

    name = FileName()
    """The method's name, which is that of its file."""
    role: ClassVar[Literal["method", "baseline"]] = "method"
    """`baseline`: what others are measured against."""
    reading: ClassVar[str]
    """The predicted effect in words, as the end of a sentence that begins "An effect is"."""

    folds: int = 5
    """Parts that the units fall into, from 2."""
    resamples: int = 500
    """Halves of the units that errors are estimated from, from 50."""
    seed: int = 0
    """Of folds and of what is drawn, from 0."""

    def __post_init__(self) -> None:
        require(self.folds >= 2, f"folds must be at least 2, not {self.folds}")
        require(self.resamples >= 50, f"resamples must be at least 50, not {self.resamples}")
        require(0 <= self.seed < 2**62, f"seed must be 0 to 2**62 - 1, not {self.seed}")

    @abstractmethod
    def fit(self, units: TrialUnits) -> Effects:
        """The effects that units of the other folds teach."""

    def __call__(self, units: TrialUnits, *, run: Run = Run.none()) -> UnitEffects:
        """The effects of all units.

        Args:
            units: of a randomised trial whose propensities are known.
            run: progress and records; a killed call goes on after the last fold.

        Raises:
            BadInput: for fewer than 40 units or 20 in an arm, for features or outcomes that cannot be used, and for
                propensities near 0 or 1.
        """
        units.check()
        if units.features.shape[1] == 0:
            raise BadInput("there are no features to tell units apart; give pictures, features or covariates")
        smaller = min(int(units.treated.sum()), int((~units.treated).sum()))
        if self.folds > smaller // 2:
            raise BadInput(f"{self.folds} folds of {smaller} units in the smaller arm are too many; lower --folds")
        for warning in units.warnings:
            run.warn(warning)
        found = self._by_folds(units, run)
        scores = robust_scores(units, found["treated"], found["untreated"])
        places = folds_of(units, self.folds, self.seed)
        priority = shares_below(found["effects"], places)
        autoc, qini = rank_weighted(priority, scores, resamples=self.resamples, seed=self.seed)
        return UnitEffects(
            method=self.name,
            reading=self.reading,
            names=units.names,
            treated=tuple(units.treated.tolist()),
            effects=found["effects"],
            priority=priority,
            scores=scores,
            mean=Estimate(float(scores.mean()), float(scores.std(ddof=1)) / len(scores) ** 0.5),
            autoc=autoc,
            qini=qini,
            slope=slope_of(found["effects"], scores, places),
        )

    def _by_folds(self, units: TrialUnits, run: Run) -> dict[str, Float[ndarray, "n"]]:
        """Predicted effects, and the outcomes of either arm, of each unit from the other folds."""
        key = digest([self.name, asdict(self), *(one.tolist() for one in _numbers_of(units))])
        known = {name: one for name, one in run.recorded(KIND).items() if one["key"] == key}
        places = folds_of(units, self.folds, self.seed)
        found = {name: np.empty(len(units)) for name in ("effects", "treated", "untreated")}
        with run.progress(self.folds, "folds", len(known)) as progress:
            for number in range(self.folds):
                inside = np.flatnonzero(places == number)
                if str(number) not in known:
                    rows = self._fold(units[np.flatnonzero(places != number)], units.features[inside])
                    known[str(number)] = {"key": key, **rows}
                    run.record(KIND, str(number), known[str(number)])
                    progress.advance()
                for name, values in found.items():
                    values[inside] = known[str(number)][name]
        return found

    def _fold(self, others: TrialUnits, features: Float[ndarray, "m d"]) -> dict[str, Any]:
        arms = {"treated": others.treated, "untreated": ~others.treated}
        models = {name: OutcomeModel.of(others.features[arm], others.outcome[arm]) for name, arm in arms.items()}
        return {
            "effects": self.fit(others)(features).tolist(),
            **{name: model(features).tolist() for name, model in models.items()},
        }


def shares_below(effects: Float[ndarray, "n"], places: Int[ndarray, "n"]) -> Float[ndarray, "n"]:
    """Share of each unit's own fold with smaller effects, those of equal ones counted half.

    Folds learn from different units, and one whose units gain much leaves others to be learnt from that gain less:
    ranks across folds would find that those ranked first gain less where all gain alike.
    """
    found = np.empty(len(effects))
    for number in np.unique(places):
        inside = places == number
        found[inside] = (rankdata(effects[inside]) - 0.5) / inside.sum()
    return found


def slope_of(effects: Float[ndarray, "n"], scores: Float[ndarray, "n"], places: Int[ndarray, "n"]) -> Estimate:
    """Slope of scores on predicted effects within folds, by least squares, with its robust standard error.

    0 where effects are equal within folds.
    """
    centred, left = effects.copy(), scores.copy()
    for values in (centred, left):
        for number in np.unique(places):
            values[places == number] -= values[places == number].mean()
    square = float((centred**2).sum())
    if square <= 1e-20 * max(float((effects**2).sum()), 1e-300):
        return Estimate(0.0, 0.0)
    slope = float((centred * left).sum()) / square
    left -= slope * centred
    return Estimate(slope, float(((centred * left) ** 2).sum()) ** 0.5 / square)


def _numbers_of(units: TrialUnits) -> tuple[ndarray, ...]:
    return units.outcome, units.treated, units.propensity, units.features
