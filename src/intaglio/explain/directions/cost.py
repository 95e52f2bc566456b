"""The time of a search for directions, before it begins."""

from collections.abc import Sequence

from intaglio.explain.directions.family import DirectionFinder
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.time_plan import TimePlan
from intaglio.sampling.calls import Calls
from intaglio.sampling.plan import picture_calls, planned_seconds


def directions_plan(
    method: DirectionFinder,
    model: LatentDiffusion,
    pictures: int,
    strengths: Sequence[float],
    directions: int,
    *,
    found: bool = False,
) -> TimePlan:
    """Seconds of all drawings, by one call of the denoiser and one decoding that are timed.

    `directions` counts those that pictures are led along, the control among them; with `found`, none are to be found.
    """
    drawn, further = (0, 0) if found else method.calls(pictures)
    led = pictures * (1 + directions * len({float(one) for one in strengths} - {0.0}))
    each = picture_calls(model, method.steps, method.guidance)
    parts = {
        "samples": planned_seconds(Calls(forward=drawn * each.forward + further, decodes=drawn), model, method.batch),
        "led pictures": planned_seconds(each.times(led), model, method.batch),
    }
    calls = (drawn + led) * each.forward + further
    head = f"pictures   {drawn} to find directions, {led} led along them: {calls:,} calls of the denoiser"
    return TimePlan(parts, head, at_most=further > 0)
