"""The error of plain rounding by bits, against which every other way of the same error is worth bits."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.shrink.calibration_states import CalibrationStates
from intaglio.shrink.methods.rtn import RoundToNearest
from intaglio.shrink.price import prediction_error


@dataclass(frozen=True)
class RoundingCurve:
    """Bits a weight and error of round-to-nearest, a scale for each row, the fewest bits first."""

    points: tuple[tuple[float, float], ...]

    def bits(self, error: float) -> float | None:
        """Bits that plain rounding needs for an error, between its points by the logarithm; None beyond them."""
        bits, errors = np.array(self.points).T
        if not errors[-1] <= error <= errors[0]:
            return None
        return float(np.interp(-np.log(error), -np.log(errors), bits))

    def gained(self, row: Mapping[str, Any]) -> float | None:
        """Bits that plain rounding needs more than a row of the bench for its error; None beyond the points."""
        needed = self.bits(row["error"]["whole"])
        return None if needed is None else needed - row["bits"]


def rounding_curve(model: LatentDiffusion, rows: CalibrationStates, *, quick: bool) -> RoundingCurve:
    """The curve on these rows, at 2 to 8 bits, or at four of these with `quick`."""
    points = []
    for bits in (2, 3, 4, 8) if quick else range(2, 9):
        found = RoundToNearest(bits=bits)(model)
        points.append((found.bits, prediction_error(model, found.model, rows).whole))
    return RoundingCurve(tuple(points))
