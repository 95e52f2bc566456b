"""The price of a smaller model: how far its predictions are from those of the model that it was made from."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from intaglio.metrics.statistics.interval import interval
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.shrink.calibration_states import CalibrationStates


@dataclass(frozen=True)
class PredictionError:
    """Norm of the change of the predicted noise over the norm of that noise, over rows; 0 for no change."""

    whole: float
    low: float
    high: float
    """Bounds of the 95% interval by resampling rows."""
    thirds: tuple[float | None, float | None, float | None]
    """Of the rows in each third of the timesteps, the least noise first; None where a third has no rows."""
    rows: int
    worst: float = 0.0
    """The largest change of any number of a prediction, over the root mean square of the predictions."""

    def figures(self) -> dict[str, Any]:
        """All of it, as plain values."""
        return asdict(self)


@torch.no_grad()
def prediction_error(
    model: LatentDiffusion, other: LatentDiffusion, rows: CalibrationStates, batch: int = 8
) -> PredictionError:
    """The error of another model's predictions against those of `model`, on the same rows, `batch` at once."""
    changes, sizes, worst, numbers = [], [], 0.0, 0
    with model.frozen(), other.frozen():
        pairs = zip(rows.batches(model, batch), rows.batches(other, batch), strict=True)
        for one, two in pairs:
            wanted = model.predict(*one)
            apart = other.predict(*two) - wanted
            worst, numbers = max(worst, float(apart.abs().max())), numbers + wanted.numel()
            changes.append(apart.square().flatten(1).sum(1).cpu())
            sizes.append(wanted.square().flatten(1).sum(1).cpu())
    change, size = torch.cat(changes).double().numpy(), torch.cat(sizes).double().numpy()
    low, high = interval(_ratio, [change, size], paired=True)
    place = (rows.t * 3 // model.schedule.count).numpy()
    thirds = [float(_ratio(change[place == k], size[place == k])) if (place == k).any() else None for k in range(3)]
    worst /= float(np.sqrt(size.sum() / numbers))
    return PredictionError(float(_ratio(change, size)), low, high, (thirds[0], thirds[1], thirds[2]), len(rows), worst)


def _ratio(change: Float[ndarray, "*b n"], size: Float[ndarray, "*b n"]) -> Float[ndarray, "*b"]:
    return np.asarray(np.sqrt(change.sum(-1) / size.sum(-1)))
