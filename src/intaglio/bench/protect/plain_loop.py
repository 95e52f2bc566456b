"""AdvDM as a plain loop, the way it was published: one picture, one sample a step, one graph through everything."""

from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.protect.budget import LEVELS
from intaglio.randomness import generator


def plain_advdm(
    model: LatentDiffusion, picture: Float[Tensor, "1 3 h w"], prompt: str, *, budget: float, step: float, steps: int
) -> Float[Tensor, "1 3 h w"]:
    """The changed picture in [0, 1] after `steps` steps of `step` grey levels within `budget`.

    The prompt is embedded and the picture encoded anew in each step, no weight is frozen, so that each backward pass
    also fills the gradients of all of them.
    """
    source = generator(0, "plain")
    limit = budget / LEVELS
    changed = (picture + (2 * torch.rand(picture.shape, generator=source) - 1) * limit).clamp(0, 1)
    for _ in range(steps):
        changed = changed.detach().requires_grad_(True)
        latents = model.encode(changed, [source])
        t = torch.randint(model.schedule.count, (1,), generator=source)
        noise = torch.randn(latents.shape, generator=source)
        device = model.device
        loss = model.error(latents, noise.to(device), t.to(device), model.embed([prompt])).sum()
        for part in model.parts.values():
            part.zero_grad()
        loss.backward()
        moved = changed.detach() + step / LEVELS * cast(Tensor, changed.grad).sign()
        changed = (picture + (moved - picture).clamp(-limit, limit)).clamp(0, 1)
    for part in model.parts.values():
        part.zero_grad()
    return changed.detach()
