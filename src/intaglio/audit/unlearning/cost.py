"""The time of an unlearning, before it begins: the method's calls of the denoiser, and those of the comparison."""

from intaglio.audit.unlearning.audit import STEPS
from intaglio.audit.unlearning.concept import Concept
from intaglio.audit.unlearning.family import Unlearner
from intaglio.audit.unlearning.prompt_evidence import DRAWS
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.time_plan import TimePlan
from intaglio.sampling.calls import Calls
from intaglio.sampling.plan import picture_calls, planned_seconds


def unlearning_plan(
    method: Unlearner, model: LatentDiffusion, concept: Concept, *, forget: int, retain: int, pictures: int, shown: int
) -> TimePlan:
    """Seconds of the unlearning and of the comparison, by one call of the denoiser that is timed.

    `forget` and `retain` are the numbers of pictures given, or 0; `pictures` and `shown` are those of each prompt.
    Where pictures are forgotten their captions are taken to differ.
    """
    own = method.planned(concept, forget=forget, retain=retain)
    if method.forgets == "pictures":
        asked, drawn, decoded = forget + retain, 2 * forget * shown, 2 * forget * shown
    else:
        prompts = len(concept.prompts) + len(concept.keep)
        asked, drawn, decoded = prompts * pictures, prompts * (pictures + shown), 2 * prompts * shown
    each = picture_calls(model, STEPS).forward
    compared = Calls(forward=4 * DRAWS * asked + drawn * each, decodes=decoded)
    parts = {"comparison": planned_seconds(compared, model, 8)}
    if own.cost:
        parts = {"unlearning": planned_seconds(own, model, method.rows), **parts}
    return TimePlan(parts, f"work       {own} to unlearn; {compared} to compare the models")
