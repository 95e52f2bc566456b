"""The time of a private training, before it begins."""

from collections.abc import Mapping
from dataclasses import replace

from intaglio.images.image_set import ImageSet
from intaglio.models.classifiers import PictureClassifier
from intaglio.protect.private.family import PrivateTrainer
from intaglio.runs.time_plan import TimePlan
from intaglio.runs.timed import seconds_of

TIMED = 3
"""Steps beside the first one that are timed."""


def private_plan(
    method: PrivateTrainer, classifier: PictureClassifier, head: str, classes: Mapping[str, ImageSet]
) -> TimePlan:
    """Seconds of all steps, by a few that are taken on the same pictures and thrown away."""

    def seconds(steps: int) -> float:
        return seconds_of(lambda: replace(method, steps=steps)(classifier, head, classes), "cpu")

    begun = seconds(1)
    step = max(0.0, seconds(1 + TIMED) - begun) / TIMED
    count = sum(len(images) for images in classes.values())
    told = f"pictures   {count} of {len(classes)} classes; {method.steps:,} steps of {min(method.batch, count)}"
    return TimePlan({"preparation": begun, "steps": step * (method.steps - 1)}, told)
