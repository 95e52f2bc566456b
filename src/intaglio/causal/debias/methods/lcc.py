"""lcc: predictions stretched by the line that they follow in the outcomes."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from intaglio.causal.debias.family import Corrected, PredictionCorrection
from intaglio.causal.debias.trial_rows import CalibrationRows
from intaglio.errors import BadInput

WEAK = 0.2
"""Slope below which the result warns."""


@dataclass(frozen=True, kw_only=True)
class LinearCalibration(PredictionCorrection):
    """Linear calibration: predictions are regressed on outcomes, and the line is undone.

    pred = a + b y by least squares on the calibration rows; corrected is (pred - a) / b. Where the line holds, a
    difference of means is right on average whatever outcomes the trial's units have. Outcomes regressed on predictions,
    the usual way around, undo no shrinkage.

    Source: Pettersson, Jerzak and Daoud, arXiv 2508.01341.
    """

    reading: ClassVar[str] = "moved along the line on which predictions follow outcomes, to the outcome that it means"

    def fit(self, rows: CalibrationRows) -> Corrected:
        """See the class. Raises `BadInput` for a line that does not rise."""
        slope, start = slope_of(rows)
        if slope <= 0:
            raise BadInput(
                f"predictions do not rise with outcomes in the calibration rows (slope {slope:.3f}), so that they "
                "cannot be corrected; give predictions that tell the outcome"
            )
        return lambda predicted: (predicted - start) / slope

    def warnings(self, rows: CalibrationRows) -> list[str]:
        """As the family's, and for a flat line."""
        slope, _ = slope_of(rows)
        told = f"predictions rise by {slope:.2f} where outcomes rise by 1, so that their noise is multiplied with them"
        return [*super().warnings(rows), *([told] if slope < WEAK else [])]


def slope_of(rows: CalibrationRows) -> tuple[float, float]:
    """Slope and start of the line of predictions over outcomes."""
    centred = rows.truth - rows.truth.mean()
    slope = float((centred * rows.predicted).sum() / np.maximum((centred**2).sum(), 1e-300))
    return slope, float(rows.predicted.mean() - slope * rows.truth.mean())
