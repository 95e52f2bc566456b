"""The time of readable heads, before they begin."""

from typing import cast

import numpy as np
import torch

from intaglio.errors import BadInput
from intaglio.explain.heads.family import ReadableHead
from intaglio.explain.heads.network_tuning import ConceptHead, NetworkTuning, TuningLessons, beginning
from intaglio.explain.heads.place_features import place_features
from intaglio.explain.kept_labels import KeptLabels
from intaglio.explain.picture_features import FeatureSource, LayerFeatures
from intaglio.images.image_set import ImageSet
from intaglio.randomness import numpy_generator
from intaglio.runs.time_plan import TimePlan
from intaglio.runs.timed import seconds_of

ROWS, MOST_ROWS = 2, 60
"""Pictures whose features are timed, and rows of the head that is timed, at most."""


def heads_plan(method: ReadableHead, source: FeatureSource, images: ImageSet, kept: KeptLabels) -> TimePlan:
    """Seconds of features and of heads, by the features of two pictures and one head of few that are timed."""
    if told := method.refusal(source):
        raise BadInput(told)
    some = images[: min(ROWS, method.batch)]
    first = place_features(source, some, method.side)
    reading = seconds_of(lambda: place_features(source, some, method.side), "cpu") / len(some) * len(images)
    count = min(len(kept.codes), max(MOST_ROWS, 6 * len(kept.classes)))
    random = numpy_generator(0).standard_normal((count, *first.shape[1:]))
    truth = np.arange(count) % len(kept.classes)
    one = seconds_of(lambda: method.fitted(random, truth, np.arange(count), len(kept.classes)), "cpu")
    each = one * max(1.0, len(kept.codes) / count)
    places = f"{first.shape[1]} {'place' if first.shape[1] == 1 else 'places'} of {first.shape[2]} features"
    told = f"pictures   {len(images)}, {places}"
    if method.tuning is None:
        return TimePlan({"features": reading, "heads": each * (method.folds + 1)}, told)
    step = _step(method.tuning, cast(LayerFeatures, source), images, first.shape[2])
    trainings = 2 * method.tuning.updates(len(kept.codes)) * step
    return TimePlan({"features": 4 * reading, "trainings": trainings, "heads": 4 * each}, told)


def _step(tuning: NetworkTuning, source: LayerFeatures, images: ImageSet, features: int) -> float:
    """Seconds of an update, on first pictures with codes and concepts of no meaning."""
    some = images.pixels[: tuning.rows]
    codes, ends = np.arange(len(some)) % 2, source.scored.features(some[:1]).shape[1]
    nothing = np.zeros((2, ends)), np.zeros(2)
    lessons = TuningLessons(some, torch.from_numpy(codes), ("a", "b"), codes, source.scored.device, nothing)
    concepts = min(tuning.concepts, len(some) * tuning.side**2)
    parts = torch.eye(concepts, features), torch.zeros(2, concepts), torch.zeros(2)
    head = tuple(one.to(source.scored.device) for one in parts)
    objective = tuning.training(source, lessons, beginning(source, lessons), cast(ConceptHead, head))[1]
    return seconds_of(lambda: objective(0), source.scored.device)
