"""The time of patching, before it begins."""

import torch

from intaglio.explain.components.denoiser_branches import channel_axis, denoiser_branches
from intaglio.explain.components.family import ComponentPatcher
from intaglio.explain.components.patch_points import watched
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.time_plan import TimePlan
from intaglio.sampling.calls import Calls
from intaglio.sampling.plan import planned_seconds


def components_plan(method: ComponentPatcher, model: LatentDiffusion, verify: int) -> TimePlan:
    """Seconds of all draws, by one call of the denoiser that is timed; a pass back takes as long as two calls."""
    sizes, draws = component_counts(method, model), method.planned_draws(model)
    checked = 0 if method.exact or not verify else 4 + min(2 * verify, sum(sizes))
    rows = {
        "draws": sum(one.steps for one in draws) * (1 if method.exact or not verify else 2),
        "effects": len(draws) * method.passes(sizes),
        "checks": len(draws) * checked,
    }
    parts = {
        name: planned_seconds(Calls(forward=count), model, min(method.batch, max(1, count)))
        for name, count in rows.items()
    }
    head = f"components {sum(sizes):,} at {len(draws)} draws: {sum(rows.values()):,} passes through the denoiser"
    return TimePlan(parts, head)


def component_counts(method: ComponentPatcher, model: LatentDiffusion) -> list[int]:
    """Components of each branch, by one pass on empty latents.

    Raises `BadInput` for a denoiser without branches.
    """
    branches = denoiser_branches(model.denoiser, method.branches)
    if method.unit == "branch":
        return [1] * len(branches)
    side = model.resolution // model.factor
    with torch.no_grad(), model.frozen(), watched(model.denoiser, branches) as values:
        latents = torch.zeros(1, model.latent_channels, side, side, device=model.device)
        model.predict(latents, torch.zeros(1, dtype=torch.long, device=model.device), model.embed([""]))
    return [one[0].shape[channel_axis(one[0])] if one else 0 for one in values]
