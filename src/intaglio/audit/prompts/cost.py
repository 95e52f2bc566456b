"""The time of an audit of prompts, before it begins: what the method asks of denoisers, and the pictures."""

from intaglio.audit.prompts.audit import PICTURES
from intaglio.audit.prompts.family import PromptAudit
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.time_plan import TimePlan
from intaglio.sampling.calls import Calls
from intaglio.sampling.plan import planned_seconds


def prompts_plan(
    method: PromptAudit, model: LatentDiffusion, base: LatentDiffusion | None, prompts: int, shown: int
) -> TimePlan:
    """Seconds of scores and of drawn pictures; a call of the base takes as long as one of the model.

    Args:
        method: with its settings.
        model: whose calls are timed; it is left as it was found.
        base: or None.
        prompts: different ones, controls among them.
        shown: prompts of which pictures are drawn.
    """
    scores = method.calls(words=True).times(prompts)
    if base is not None:
        scores += method.calls(words=False).times(prompts)
    pictures = PICTURES * min(shown, prompts) * (1 if base is None else 2)
    steps = int(method.drawing.get("steps", 0))
    parts = {"scores": planned_seconds(scores, model, method.rows)}
    if pictures:
        parts["pictures"] = planned_seconds(Calls(forward=2 * steps, decodes=1).times(pictures), model, PICTURES)
    return TimePlan(parts, f"prompts    {prompts}, controls among them: {scores}")
