"""The time of an influence audit, before it begins: what the method asks of the denoiser."""

from intaglio.audit.influence.family import Influence
from intaglio.denoising.examples import Examples
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.time_plan import TimePlan
from intaglio.sampling.plan import planned_seconds


def influence_plan(method: Influence, model: LatentDiffusion, train: Examples, queries: Examples) -> TimePlan:
    """Seconds of the gradients of all different pictures, by one call of the denoiser that is timed.

    Args:
        method: with its settings.
        model: whose calls are timed; it is left as it was found.
        train: training pictures with their prompts.
        queries: the pictures asked about, with theirs; one that is a training picture too is counted once.
    """
    asked = {one for examples in (train, queries) for one in zip(examples.hashes, examples.prompts, strict=True)}
    calls = method.calls().times(len(asked))
    head = f"pictures   {len(train)} training pictures for {len(queries)} asked about: {calls}"
    parts = {"gradients": planned_seconds(calls, model, method.rows)} if calls.cost else {}
    return TimePlan(parts, head)
