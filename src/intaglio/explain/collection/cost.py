"""The time and the memory of a map of a collection, before it begins."""

import torch

from intaglio.amounts import size_words
from intaglio.explain.collection.family import CollectionMapper
from intaglio.explain.picture_features import FeatureSource
from intaglio.images.image_set import ImageSet
from intaglio.randomness import numpy_generator
from intaglio.runs.time_plan import TimePlan
from intaglio.runs.timed import seconds_of

PROBE = 120
"""Pictures of the tree that is timed."""
ROWS = 16
"""Pictures of the call of the network that is timed."""


def collection_plan(
    method: CollectionMapper, source: FeatureSource, images: ImageSet, device: torch.device | str
) -> TimePlan:
    """Seconds of features and tree, each timed on few pictures."""
    some = images[: min(ROWS, method.batch)]
    numbers = source.of(some)
    features = seconds_of(lambda: source.of(some), device) / len(some) * len(images)
    random = numpy_generator(0).standard_normal((PROBE, numbers.shape[1]))
    tree = seconds_of(lambda: method.tree(random), "cpu") * max(1.0, len(images) / PROBE) ** method.growth
    need = size_words(method.memory(len(images), numbers.shape[1]))
    head = f"pictures   {len(images):,}, of {numbers.shape[1]} features by {source.name}\nmemory     about {need}"
    return TimePlan({"features": features, "tree": tree}, head)
