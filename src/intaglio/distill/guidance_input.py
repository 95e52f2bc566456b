"""Students whose denoiser takes the guidance scale as an input, in the layout of diffusers."""

import copy
from typing import cast

from torch import nn

from intaglio.models.diffusion.baked_sampling import BakedSampling
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion

WIDTH = 256
"""Numbers of the scale's embedding by sines and cosines."""


def with_guidance_input(teacher: LatentDiffusion, scales: tuple[float, float], name: str) -> LatentDiffusion:
    """A student that takes a guidance scale within `scales`, and does nothing of it yet: its layer starts at zero."""
    denoiser = copy.deepcopy(teacher.denoiser)
    first = denoiser.time_embedding.linear_1.weight
    made = nn.utils.skip_init(nn.Linear, WIDTH, first.shape[1], bias=False, device=first.device, dtype=first.dtype)
    layer = cast(nn.Linear, made)
    nn.init.zeros_(layer.weight)
    denoiser.time_embedding.cond_proj = layer
    denoiser.register_to_config(time_cond_proj_dim=WIDTH)
    return teacher.made_for(BakedSampling(guidance="input", scales=scales), denoiser, name)
