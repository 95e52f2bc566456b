"""outcome-regression: outcomes regressed on predictions, the usual calibration."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from intaglio.causal.debias.family import Corrected, PredictionCorrection
from intaglio.causal.debias.trial_rows import CalibrationRows


@dataclass(frozen=True, kw_only=True)
class OutcomeRegression(PredictionCorrection):
    """The usual calibration, which undoes no shrinkage: outcomes regressed on predictions.

    y = a + b pred by least squares on the calibration rows; corrected is a + b pred, the mean outcome of a prediction.
    It is right for units drawn as the calibration rows were, and not for groups whose outcomes differ.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "brought to the mean outcome of its like"

    def fit(self, rows: CalibrationRows) -> Corrected:
        """See the class."""
        centred = rows.predicted - rows.predicted.mean()
        slope = float((centred * rows.truth).sum() / np.maximum((centred**2).sum(), 1e-300))
        start = float(rows.truth.mean() - slope * rows.predicted.mean())
        return lambda predicted: start + slope * predicted
