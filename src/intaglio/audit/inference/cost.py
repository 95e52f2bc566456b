"""The time of a check, before it begins: updates of the student, one of which is timed, and of the method."""

import torch

from intaglio.audit.inference.family import ResultCheck
from intaglio.models.classifiers import PictureClassifier
from intaglio.runs.time_plan import TimePlan
from intaglio.runs.timed import seconds_of


def check_plan(
    method: ResultCheck, service: PictureClassifier | None, head: str, known: int, asked: int, side: int
) -> TimePlan:
    """Seconds of the student's training at most: a pass of the service and back, for each of all stages.

    Args:
        method: with its settings.
        service: the classifier; None for a fit that is there.
        head: whose answers are checked.
        known: pictures of the fit.
        asked: pictures whose answers are checked.
        side: of all pictures, pixels.
    """
    head_line = f"pictures   {asked} answered"
    if service is None:
        return TimePlan({}, head_line)
    whole = f"{head_line}, {known} known, of which about {known - 3 * (known // 4)} are held out"
    device = next(service.parameters()).device
    blank = torch.zeros(method.rows, 3, side, side, device=device, requires_grad=True)

    def update() -> None:
        with torch.enable_grad():
            torch.autograd.grad(service.logits(blank, head).sum(), blank)

    updates = len(service.widths) * (method.block_steps + method.steps)
    parts = {"student": updates * seconds_of(update, device)}
    if (own := method.update(len(service.classes[head]))) is not None:
        parts["detector"] = method.updates() * seconds_of(own, "cpu")
    return TimePlan(parts, whole, at_most=True)
