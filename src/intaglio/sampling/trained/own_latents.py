"""`own_latents`: latents that a model draws for the training of a part of its sampling, kept as they come."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.randomness import seed_32bit
from intaglio.runs.run import Run
from intaglio.runs.steps import StepState, in_steps, stored_steps
from intaglio.sampling.grid import CLEAN_AT
from intaglio.sampling.loop import latent_batches
from intaglio.sampling.start import Start

STATE = "own_latents"


@dataclass(frozen=True, eq=False)
class _Drawn(StepState):
    """The latents of the batches so far, in their order."""

    latents: Float[Tensor, "n c h w"]


def own_latents(
    model: LatentDiffusion,
    prompts: Sequence[str],
    count: int,
    *,
    steps: int,
    scale: float,
    batch: int,
    seed: int,
    run: Run,
    until: int = CLEAN_AT,
    start: Start | None = None,
    name: str = STATE,
) -> Float[Tensor, "count c h w"]:
    """Latents on the CPU, drawn by DDIM; the k-th has its own seed and the k-th prompt, from the first on again.

    Args:
        model: left as it was found.
        prompts: one or more.
        count: latents to draw.
        steps: of DDIM.
        scale: guidance scale, 1 for none.
        batch: pictures drawn at once.
        seed: of all.
        run: keeps what was drawn.
        until: timestep at which the walks end; clean latents by default.
        start: of the walks; None takes unit noise at the last timestep.
        name: of the run's state.
    """
    cuts = [range(first, min(first + batch, count)) for first in range(0, count, batch)]
    options: dict[str, Any] = {"sampler": "ddim", "steps": steps, "guidance_scale": scale, "negative": ""}

    def draw(state: _Drawn) -> _Drawn:
        rows = cuts[state.step]
        (found,) = latent_batches(
            model,
            [prompts[k % len(prompts)] for k in rows],
            [seed_32bit(seed, "own latents", k) for k in rows],
            **options,
            batch=batch,
            start=start,
            until=until,
        )
        return replace(state, step=state.step + 1, latents=torch.cat([state.latents, found.cpu()]))

    side = model.resolution // model.factor
    begun = _Drawn(0, torch.zeros(0, model.latent_channels, side, side))
    match = {"count": count, "batch": batch, "until": until}
    with run.progress(len(cuts), "drawing", stored_steps(run, name, match)) as progress:
        drawn = in_steps(run, name, match, begun, draw, steps=len(cuts), noted=lambda before, after: progress.advance())
    return drawn.latents
