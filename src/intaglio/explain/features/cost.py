"""The time of probes of features, before they begin."""

from collections.abc import Sequence

import numpy as np

from intaglio.explain.features.family import FeatureProbe
from intaglio.explain.features.feature_cells import ProbedNetworks
from intaglio.explain.kept_labels import KeptLabels
from intaglio.explain.probe_scores import plain_answers
from intaglio.images.image_set import ImageSet
from intaglio.randomness import numpy_generator
from intaglio.runs.time_plan import TimePlan
from intaglio.runs.timed import seconds_of

ROWS, MOST_ROWS = 2, 300
"""Pictures whose features are timed, and rows of the fit that is timed, at most."""


def features_plan(
    method: FeatureProbe, networks: ProbedNetworks, images: ImageSet, kept: Sequence[KeptLabels]
) -> TimePlan:
    """Seconds of features and of fits, by features of two pictures and one fit of each label that are timed."""
    some = images[: min(ROWS, method.batch)]
    first = method.read(networks, some)
    device = "cpu" if networks.model is None else networks.model.device
    reading = seconds_of(lambda: method.read(networks, some), device) / len(some) * len(images)
    widths = [rows.shape[1] for rows in first.values.values()]
    fits = sum(_fit_seconds(method, one, int(np.mean(widths))) for one in kept) * len(widths)
    calls = f"; {len(images) * method.calls(networks):,} calls of the network" if method.asks != "nothing" else ""
    cells = "cell" if len(widths) == 1 else "cells"
    head = f"pictures   {len(images)}, {len(widths)} {cells} of features{calls}"
    return TimePlan({"features": reading, "probes": fits}, head)


def _fit_seconds(method: FeatureProbe, kept: KeptLabels, width: int) -> float:
    """Seconds of one label's fits in one cell."""
    rows = min(MOST_ROWS, len(kept.codes))
    random = numpy_generator(0).standard_normal((rows, width))
    codes = kept.codes[np.argsort(kept.codes, kind="stable")][:: max(1, len(kept.codes) // rows)][:rows]
    folds = np.arange(rows) % 2
    one = seconds_of(lambda: plain_answers(random, codes, folds, method.strengths[0]), "cpu") / 2
    pairs = method.folds * (method.folds - 1) // 2
    fits = pairs * len(method.strengths) + method.folds * (1 + method.shuffles)
    return one * fits * len(kept.codes) / (rows / 2)
