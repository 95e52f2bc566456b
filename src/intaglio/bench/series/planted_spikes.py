"""Series whose class is the period and the sign of planted spikes."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from sklearn.metrics import average_precision_score

from intaglio.explain.series.labelled_series import LabelledSeries
from intaglio.explain.series.result import ExplainedPoints
from intaglio.randomness import numpy_generator

LENGTH, NOISE = 50, 0.25
"""Times, and deviation of the noise."""
PERIODS, SIGNS = (10, 17), (1, -1)
SPIKE = ((-1, 1.75), (0, 2.0), (1, 1.75))
"""Times from the centre of a spike, and heights there."""


@dataclass(frozen=True, eq=False)
class PlantedSpikes:
    """Series and the points of their spikes."""

    series: LabelledSeries
    spikes: Bool[ndarray, "n t"]

    def precision(self, found: ExplainedPoints) -> Float[ndarray, "m"]:
        """Area under the precision-recall curve of the spikes' points, of each held-out series."""
        place = {name: k for k, name in enumerate(self.series.names)}
        truth = self.spikes[[place[name] for name in found.names]]
        pairs = zip(truth, found.importances.mean(2).numpy(), strict=True)
        return np.array([average_precision_score(spikes, scores) for spikes, scores in pairs])


def planted_spikes(count: int, seed: int) -> PlantedSpikes:
    """Four classes in turn; the first spike of a series is within its first period."""
    source = numpy_generator(seed, 0)
    values, spikes = source.normal(0, NOISE, (count, LENGTH)), np.zeros((count, LENGTH), bool)
    kinds = [(period, sign) for period in PERIODS for sign in SIGNS]
    for k in range(count):
        period, sign = kinds[k % len(kinds)]
        for centre in range(int(source.integers(1, period)), LENGTH - 1, period):
            for offset, height in SPIKE:
                values[k, centre + offset] = sign * height
                spikes[k, centre + offset] = True
    names = tuple(f"series {k}" for k in range(count))
    labels = tuple("every {}, {:+d}".format(*kinds[k % len(kinds)]) for k in range(count))
    series = LabelledSeries(names, torch.from_numpy(values).float()[..., None], labels, ("height",))
    return PlantedSpikes(series, spikes)
