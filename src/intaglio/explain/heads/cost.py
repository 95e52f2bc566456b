"""The time of readable heads, before they begin."""

import numpy as np

from intaglio.explain.heads.family import ReadableHead
from intaglio.explain.heads.place_features import place_features
from intaglio.explain.kept_labels import KeptLabels
from intaglio.explain.picture_features import FeatureSource
from intaglio.images.image_set import ImageSet
from intaglio.randomness import numpy_generator
from intaglio.runs.time_plan import TimePlan
from intaglio.runs.timed import seconds_of

ROWS, MOST_ROWS = 2, 60
"""Pictures whose features are timed, and rows of the head that is timed, at most."""


def heads_plan(method: ReadableHead, source: FeatureSource, images: ImageSet, kept: KeptLabels) -> TimePlan:
    """Seconds of features and of heads, by the features of two pictures and one head of few that are timed."""
    some = images[: min(ROWS, method.batch)]
    first = place_features(source, some, method.side)
    reading = seconds_of(lambda: place_features(source, some, method.side), "cpu") / len(some) * len(images)
    count = min(len(kept.codes), max(MOST_ROWS, 6 * len(kept.classes)))
    random = numpy_generator(0).standard_normal((count, *first.shape[1:]))
    truth = np.arange(count) % len(kept.classes)
    one = seconds_of(lambda: method.fitted(random, truth, np.arange(count), len(kept.classes)), "cpu")
    heads = one * (method.folds + 1) * max(1.0, len(kept.codes) / count)
    places = f"{first.shape[1]} {'place' if first.shape[1] == 1 else 'places'} of {first.shape[2]} features"
    return TimePlan({"features": reading, "heads": heads}, f"pictures   {len(images)}, {places}")
