"""The time of an audit of components, before it begins: the pictures of every set of components."""

from dataclasses import replace

from intaglio.audit.components.audit import BATCH
from intaglio.audit.components.family import ComponentAudit
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.time_plan import TimePlan
from intaglio.sampling.calls import Calls
from intaglio.sampling.plan import picture_calls, planned_seconds


def components_plan(
    method: ComponentAudit, model: LatentDiffusion, components: int, steps: int, scale: float
) -> TimePlan:
    """Seconds of the drawings, by one call of the denoiser and one decoding that are timed.

    `scale` is the largest scale of guidance that a set of components is drawn by.
    """
    sets = len(method.weights(components).coalitions)
    each = picture_calls(model, steps, scale)
    pictures = sets * method.pictures
    calls = replace(each.times(pictures), decodes=0)
    parts = {
        "calls": planned_seconds(calls, model, BATCH),
        "decodings": planned_seconds(Calls(decodes=pictures), model, BATCH),
    }
    head = f"pictures   {pictures}, {method.pictures} of each of {sets} sets of {components} components: {calls}"
    return TimePlan(parts, head)
