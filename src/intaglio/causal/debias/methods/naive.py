"""naive: predictions taken as outcomes."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from intaglio.causal.debias.family import Corrected, PredictionCorrection
from intaglio.causal.debias.trial_rows import CalibrationRows


@dataclass(frozen=True, kw_only=True)
class UncorrectedPredictions(PredictionCorrection):
    """Predictions as they are, taken for outcomes.

    What one does who has a map of predictions and no correction.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "taken as it is"

    def fit(self, rows: CalibrationRows) -> Corrected:
        """No change."""
        return lambda predicted: predicted
