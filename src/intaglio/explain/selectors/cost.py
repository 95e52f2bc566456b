"""The time of a pixel selector, before it begins."""

from dataclasses import replace

import torch

from intaglio.explain.kept_labels import KeptLabels
from intaglio.explain.selectors.family import PLAIN_STATE, PixelSelector
from intaglio.explain.selectors.labelled_lessons import LabelledLessons, taught_classifier
from intaglio.explain.selectors.shown_pixels import fill_of
from intaglio.images.image_set import ImageSet
from intaglio.runs.run import Run
from intaglio.runs.time_plan import TimePlan
from intaglio.runs.timed import seconds_of


def selectors_plan(method: PixelSelector, images: ImageSet, kept: KeptLabels, device: str) -> TimePlan:
    """Seconds of the trainings and of the masks, by one update of each kind and one batch of masks that are timed."""
    count = min(method.rows, len(kept.rows))
    pixels = images.pixels[:count]
    labels = torch.arange(count) % len(kept.classes)
    lessons = LabelledLessons(pixels, labels, kept.classes, fill_of(pixels), method.seed, torch.device(device))
    one = replace(method, epochs=1, rows=max(2, count))
    plain = taught_classifier(lessons, one.pace, method.holes, PLAIN_STATE, Run.none())
    taught = one.learn(lessons, plain, Run.none())
    once = seconds_of(lambda: taught_classifier(lessons, one.pace, method.holes, PLAIN_STATE, Run.none()), device)
    learning = seconds_of(lambda: one.learn(lessons, plain, Run.none()), device)

    @torch.no_grad()
    def mask() -> None:
        taught.masks(pixels.to(device))

    updates = method.pace.updates(len(kept.rows) * (method.folds - 1) // method.folds)
    parts = {
        "plain classifiers": 2 * once * updates,
        "selector": learning * updates,
        "masks": seconds_of(mask, device) / count * len(kept.rows),
    }
    head = f"pictures   {len(kept.rows)} with {len(kept.classes)} labels; {updates:,} updates of each network"
    return TimePlan(parts, head)
