"""The time of an audit of training pictures, before it begins: calls of the denoiser, and encoded pictures."""

from collections.abc import Sequence

from intaglio.audit.influence.example_method import Asked, ExampleMethod
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.time_plan import TimePlan
from intaglio.sampling.calls import Calls
from intaglio.sampling.plan import planned_seconds


def influence_plan(
    method: ExampleMethod,
    model: LatentDiffusion,
    train: Sequence[Asked],
    queries: Sequence[Asked],
    *,
    said: str = "{train} training pictures for {queries} asked about",
) -> TimePlan:
    """Seconds of the gradients of all different pictures, by one call of the denoiser that is timed, and of latents.

    Args:
        method: with its settings.
        model: whose calls are timed; it is left as it was found.
        train: hashes and prompts of the training pictures.
        queries: those of the pictures asked about; one that is a training picture too is counted once.
        said: the pictures in words, with the places of both counts.
    """
    calls = method.calls().times(len({*train, *queries})) + method.training_calls().times(len(train))
    parts = {"latents": planned_seconds(Calls(decodes=len(train) + len(queries)), model, method.rows)}
    if calls.cost:
        parts["gradients"] = planned_seconds(calls, model, method.rows)
    return TimePlan(parts, f"pictures   {said.format(train=len(train), queries=len(queries))}: {calls}")
