"""The time of certificates, before they begin."""

import torch

from intaglio.images.image_set import ImageSet
from intaglio.models.classifiers import PictureClassifier
from intaglio.protect.certify.family import Certifier
from intaglio.runs.time_plan import TimePlan
from intaglio.runs.timed import seconds_of


def certify_plan(method: Certifier, classifier: PictureClassifier, head: str, images: ImageSet) -> TimePlan:
    """Seconds of all noisy copies, by one batch of them that is timed."""
    copies = method.first + method.votes
    count = min(method.batch, copies)
    noisy = images.pixels[:1].expand(count, -1, -1, -1).to(next(classifier.parameters()).device)

    @torch.no_grad()
    def batch() -> None:
        method.called(classifier, head, noisy)

    seconds = seconds_of(batch, str(noisy.device)) / count * copies * len(images)
    return TimePlan({"votes": seconds}, f"pictures   {len(images)}; {copies:,} noisy copies of each are called")
