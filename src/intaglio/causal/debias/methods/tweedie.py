"""tweedie: predictions moved against the slope of their own density."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.stats import gaussian_kde

from intaglio.causal.debias.family import Corrected, PredictionCorrection
from intaglio.causal.debias.trial_rows import CalibrationRows
from intaglio.errors import BadInput, require

STEP = 1e-3
"""Of the difference that gives the density's slope, in standard deviations of the predictions."""


@dataclass(frozen=True, kw_only=True)
class TweedieCorrection(PredictionCorrection):
    """Tweedie's correction: predictions are moved away from where most of them are.

    corrected = pred - s^2 d log p(pred) / d pred, with p a Gaussian kernel density of the calibration rows' predictions
    and s the standard deviation of pred - y. It needs no line, but noise of one size; exact where predictions and
    noise are normal and independent. The kernel widens p a little, so that the correction falls a little short.

    Source: Pettersson, Jerzak and Daoud, arXiv 2508.01341.
    """

    reading: ClassVar[str] = "moved away from where most predictions are, as far as the noise of the outcomes asks"
    least_rows: ClassVar[int] = 100

    bandwidth: float = 0.0
    """Of the kernel, in standard deviations of the predictions, above 0; 0 takes Scott's rule."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.bandwidth >= 0, f"bandwidth must be 0 or more, not {self.bandwidth}")

    def fit(self, rows: CalibrationRows) -> Corrected:
        """See the class. Raises `BadInput` for predictions that are all the same."""
        if np.ptp(rows.predicted) == 0:
            raise BadInput("the calibration rows' predictions are all the same, so that they have no density")
        density = gaussian_kde(rows.predicted, bw_method=self.bandwidth or "scott")
        noise, step = float((rows.predicted - rows.truth).var(ddof=1)), STEP * float(rows.predicted.std())

        def corrected(predicted: Float[ndarray, "n"]) -> Float[ndarray, "n"]:
            above, below = density.logpdf(predicted + step), density.logpdf(predicted - step)
            return predicted - noise * (above - below) / (2 * step)

        return corrected
