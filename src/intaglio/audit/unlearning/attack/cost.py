"""The time of an attack, before it begins: at most all tries at every prompt, and the pictures of the judge."""

from dataclasses import replace

from intaglio.audit.unlearning.attack.family import UnlearnAttack
from intaglio.audit.unlearning.prompt_evidence import DRAWS
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.time_plan import TimePlan
from intaglio.sampling.calls import Calls
from intaglio.sampling.plan import picture_calls, planned_seconds


def attack_plan(method: UnlearnAttack, model: LatentDiffusion, prompts: int, controls: int, shown: int) -> TimePlan:
    """Seconds at most, by one call of the denoiser that is timed.

    `prompts` are attacked, `controls` pictures calibrate the judge, and of `shown` prompts pictures are stored.
    """
    each = picture_calls(model, method.steps, method.guidance)
    tries = each.times(prompts * (method.tries + 1)) + method.planned().times(prompts)
    # The judge encodes each picture, and asks the original with the words and without them.
    judged = Calls(forward=2 * DRAWS, decodes=1).times(prompts * (method.tries + 1))
    calibrated = replace(each, decodes=0).times(controls) + Calls(forward=2 * DRAWS).times(controls)
    parts = {
        "tries": planned_seconds(tries + each.times(2 * shown), model, method.batch),
        "judging": planned_seconds(judged + calibrated, model, method.batch),
    }
    return TimePlan(parts, f"prompts    {prompts}, {method.tries} tries each at most: {tries}", at_most=True)
