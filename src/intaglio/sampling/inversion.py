"""Inversion of a sampling: the noise that clean latents would have been drawn from, by DDIM run backwards."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.sampling.grid import NoiseLevel
from intaglio.sampling.step import ddim_step

Latents = Float[Tensor, "n c h w"]


def inverted(
    model: LatentDiffusion, latents: Latents, text: Conditioning, grid: Sequence[NoiseLevel], *, micro_batch: int = 64
) -> Latents:
    """Latents at the first level of a grid, from clean ones, by DDIM from its last level back to its first.

    At each step the network is asked at the noisier of the two levels, whose step the sampling took, for the noise in
    the latents of the cleaner one; where the prediction changes little along the way, it is the sampling's own.

    Args:
        model: frozen by the caller; no gradients are kept.
        latents: clean, scaled, on the CPU.
        text: a row for all of them; guidance has no part in it.
        grid: the levels of a sampling, from the noisiest to the clean end, such as `sampling_grid` gives.
        micro_batch: rows in one call of the network, from 1.
    """
    x = latents.double()
    with torch.no_grad():
        for noisier, cleaner in reversed(list(pairwise(grid))):
            found = []
            for piece in x.split(micro_batch):
                asked = piece.float().to(model.device)
                found.append(model.predict(asked, noisier.batch(len(asked), model.device), text).double().cpu())
            x = ddim_step(x, torch.cat(found), cleaner, noisier)
    return x.float()
