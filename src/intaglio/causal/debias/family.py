"""Corrections of predicted outcomes: the contract, effects with their intervals, and a check by pseudo-trials."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from intaglio.causal.debias.pseudo_trials import recovered_share
from intaglio.causal.debias.result import DebiasedEffects, TrialEffect
from intaglio.causal.debias.trial_rows import CalibrationRows, TrialRows
from intaglio.errors import BadInput, require
from intaglio.randomness import numpy_generator
from intaglio.runs.plain_json import digest
from intaglio.runs.run import Run
from intaglio.verbs import FileName

Corrected = Callable[[Float[ndarray, "n"]], Float[ndarray, "n"]]
"""Predictions to corrected ones."""
KIND = "resamples"
"""Name of the run's records; each holds some resamples."""
AT_ONCE = 25
"""Resamples of a record."""
TRIES = 100
"""Draws of a resample until one allows a correction, at most."""
REDRAWN = 0.02
"""Share of resamples that allowed no correction at first above which the result warns."""
FEWEST = 20
"""Calibration rows, at least."""
OUTSIDE = 0.05
"""Share of predictions outside the calibrated range above which the result warns."""


@dataclass(frozen=True, kw_only=True)
class PredictionCorrection(ABC):
    """A correction of predicted outcomes, learnt from rows whose outcomes are known, for effects in other trials.

    Predictions of a model that was fitted to squared errors shrink towards the mean, and differences of their means do
    so too. An effect is the weighted mean of the corrected predictions of treated units less that of the others. Its
    interval is of the bootstrap over calibration rows and units together.
    """

    name = FileName()
    """The method's name, which is that of its file."""
    role: ClassVar[Literal["method", "baseline"]] = "method"
    """`baseline`: what others are measured against."""
    reading: ClassVar[str]
    """The correction in words, as the end of a sentence that begins "A prediction is"."""
    least_rows: ClassVar[int] = FEWEST
    """Calibration rows below which the result warns."""

    resamples: int = 400
    """Resamples of the bootstrap, from 50."""
    folds: int = 5
    """Parts that the calibration rows fall into for the check by pseudo-trials, from 2."""
    seed: int = 0
    """Of resamples and pseudo-trials, from 0."""

    def __post_init__(self) -> None:
        require(self.resamples >= 50, f"resamples must be at least 50, not {self.resamples}")
        require(self.folds >= 2, f"folds must be at least 2, not {self.folds}")
        require(0 <= self.seed < 2**62, f"seed must be 0 to 2**62 - 1, not {self.seed}")

    @abstractmethod
    def fit(self, rows: CalibrationRows) -> Corrected:
        """The correction. Raises `BadInput` where these rows allow none."""

    def warnings(self, rows: CalibrationRows) -> list[str]:
        """Sentences on what a fit on these rows cannot be trusted for."""
        few = len(rows) < self.least_rows
        told = f"{self.name} wants {self.least_rows} calibration rows or more, and there are {len(rows)}"
        return [told] if few else []

    def __call__(self, calibration: CalibrationRows, trials: TrialRows, *, run: Run = Run.none()) -> DebiasedEffects:
        """The effects of all trials.

        Args:
            calibration: outcomes and predictions of rows that the model did not learn from.
            trials: predictions of other rows, treated or not.
            run: progress and records; a killed call goes on after the last of them.

        Raises:
            BadInput: for fewer than 20 calibration rows or 4 a fold, for predictions that are all the same, and where
                the rows allow no correction.
        """
        check_calibration(calibration)
        corrected = self.fit(calibration)
        pseudo = recovered_share(self.fit, calibration, self.folds, self.seed)
        drawn, redrawn = self._resampled(calibration, trials, run)
        effects = tuple(
            TrialEffect(
                name,
                effect_of(trials, place, trials.predicted),
                effect_of(trials, place, corrected(trials.predicted)),
                tuple(np.quantile(drawn[:, place], [0.025, 0.975]).tolist()),
                *map(len, trials.arms(place)),
            )
            for place, name in enumerate(trials.names)
        )
        low, high = calibration.predicted.min(), calibration.predicted.max()
        outside = float(((trials.predicted < low) | (trials.predicted > high)).mean())
        told = self.warnings(calibration)
        if redrawn > REDRAWN:
            told.append(
                f"{redrawn:.0%} of the resamples allowed no correction and were drawn again, so that intervals are too "
                "narrow, and the sign of the effects is not sure"
            )
        if outside > OUTSIDE:
            told.append(f"{outside:.0%} of the trials' predictions lie outside of those that were calibrated")
        return DebiasedEffects(self.name, self.reading, len(calibration), effects, pseudo, outside, tuple(told))

    def _resampled(
        self, calibration: CalibrationRows, trials: TrialRows, run: Run
    ) -> tuple[Float[ndarray, "b t"], float]:
        """Effects of each resample, by trial, and the share of draws that allowed no correction."""
        key = digest(
            [
                self.name,
                asdict(self),
                *(one.tolist() for one in (calibration.truth, calibration.predicted)),
                *(one.tolist() for one in (trials.predicted, trials.treated, trials.weights, trials.trial)),
            ]
        )
        known = {name: one for name, one in run.recorded(KIND).items() if one["key"] == key}
        starts = range(0, self.resamples, AT_ONCE)
        with run.progress(len(starts), "resamples", len(known)) as progress:
            for start in starts:
                if str(start) not in known:
                    numbers = range(start, min(start + AT_ONCE, self.resamples))
                    drawn = [self._resample(calibration, trials, number) for number in numbers]
                    known[str(start)] = {
                        "key": key,
                        "effects": [effects for effects, _ in drawn],
                        "failed": sum(failed for _, failed in drawn),
                    }
                    run.record(KIND, str(start), known[str(start)])
                    progress.advance()
        found = np.array([row for start in starts for row in known[str(start)]["effects"]])
        failed = sum(int(known[str(start)]["failed"]) for start in starts)
        return found, failed / (failed + self.resamples)

    def _resample(self, calibration: CalibrationRows, trials: TrialRows, number: int) -> tuple[list[float], int]:
        """Effects of one resample, and the draws before it that allowed no correction."""
        for failed in range(TRIES):
            source = numpy_generator(self.seed, 0, number, failed)
            rows = calibration[source.integers(0, len(calibration), len(calibration))]
            try:
                corrected = self.fit(rows)(trials.predicted)
            except BadInput:
                continue
            arms = [[source.choice(arm, len(arm)) for arm in trials.arms(k)] for k in range(len(trials.names))]
            return [_mean(corrected, trials, one) - _mean(corrected, trials, two) for one, two in arms], failed
        raise BadInput("resamples of the calibration rows allow no correction; give more of them")


def check_calibration(rows: CalibrationRows) -> None:
    """Raises `BadInput` for too few rows, and for predictions or outcomes that are all the same."""
    if len(rows) < FEWEST:
        raise BadInput(f"{len(rows)} calibration rows are too few; give {FEWEST} or more")
    for name, values in (("predictions", rows.predicted), ("outcomes", rows.truth)):
        if np.ptp(values) == 0:
            raise BadInput(f"the calibration rows' {name} are all the same, so that no correction can be learnt")


def effect_of(trials: TrialRows, place: int, outcomes: Float[ndarray, "n"]) -> float:
    """The weighted mean outcome of a trial's treated units less that of the others."""
    treated, others = trials.arms(place)
    return _mean(outcomes, trials, treated) - _mean(outcomes, trials, others)


def _mean(outcomes: Float[ndarray, "n"], trials: TrialRows, places: ndarray) -> float:
    return float(np.average(outcomes[places], weights=trials.weights[places]))
