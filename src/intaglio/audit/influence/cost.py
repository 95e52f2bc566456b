"""The time of an influence audit, before it begins: what the method asks of the denoiser, and the encoded pictures."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from intaglio.audit.influence.family import Asked
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.time_plan import TimePlan
from intaglio.sampling.calls import Calls
from intaglio.sampling.plan import planned_seconds


@runtime_checkable
class AsksDenoiser(Protocol):
    """A method as a plan knows it: by the rows that it asks a denoiser."""

    @property
    def rows(self) -> int:
        """Noised latents that go through the network together."""
        ...

    def calls(self) -> Calls:
        """Rows that one picture takes."""
        ...

    def training_calls(self) -> Calls:
        """Rows that one training picture takes beside them."""
        ...


def influence_plan(
    method: AsksDenoiser, model: LatentDiffusion, train: Sequence[Asked], queries: Sequence[Asked]
) -> TimePlan:
    """Seconds of the gradients of all different pictures, by one call of the denoiser that is timed, and of latents.

    Args:
        method: with its settings.
        model: whose calls are timed; it is left as it was found.
        train: hashes and prompts of the training pictures.
        queries: those of the pictures asked about; one that is a training picture too is counted once.
    """
    calls = method.calls().times(len({*train, *queries})) + method.training_calls().times(len(train))
    parts = {"latents": planned_seconds(Calls(decodes=len(train) + len(queries)), model, method.rows)}
    if calls.cost:
        parts["gradients"] = planned_seconds(calls, model, method.rows)
    return TimePlan(parts, f"pictures   {len(train)} training pictures for {len(queries)} asked about: {calls}")
