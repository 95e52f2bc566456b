"""The time of a search for slices, before it begins."""

import torch

from intaglio.explain.picture_features import FeatureSource
from intaglio.explain.slices.family import SliceFinder
from intaglio.images.image_set import ImageSet
from intaglio.models.scored_network import ScoredNetwork
from intaglio.runs.time_plan import TimePlan
from intaglio.runs.timed import seconds_of

ROWS = 8
"""Pictures of the calls that are timed."""


def slices_plan(
    method: SliceFinder, scored: ScoredNetwork, source: FeatureSource, images: ImageSet, taught: int = 0
) -> TimePlan:
    """Seconds of answers, masks and features, each timed on few pictures; the fit takes seconds and is not counted.

    `taught` pictures more are described, as they are.
    """
    some = images[: min(ROWS, len(images), method.batch)]
    called = scored.called(some.pixels)
    parts = {"answers": seconds_of(lambda: scored.called(some.pixels), scored.device)}
    if method.masked:
        parts["masks"] = seconds_of(lambda: method.shown(scored, some, called), scored.device)
    parts["features"] = seconds_of(lambda: source.of(some), torch.device("cpu"))
    many = len(images) / len(some)
    seconds = {name: one * many for name, one in parts.items()}
    seconds["features"] *= 1 + method.masked + taught / len(images)
    return TimePlan(seconds, f"pictures   {len(images):,}, by {source.name}{', masked' if method.masked else ''}")
