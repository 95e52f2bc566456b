"""Planted denoisers of two feed-forward branches, whose effects are known by hand."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from intaglio.explain.components.denoiser_branches import denoiser_branches
from intaglio.explain.components.patch_points import PatchPoint, patch_point
from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion

WIDTH = 4


class FeedForward(nn.Module):
    """phi(A x) of tokens."""

    def __init__(self, seed: int, phi: Callable[[Tensor], Tensor]):
        super().__init__()
        weight = torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(seed))
        self.weight, self.phi = nn.Parameter(weight, requires_grad=False), phi

    def forward(self, x: Tensor) -> Tensor:
        return self.phi(x @ self.weight.T)


class Denoiser(nn.Module):
    """y + ff2(y) with y = x + ff1(x + prompt)."""

    def __init__(self, phi: Callable[[Tensor], Tensor]):
        super().__init__()
        self.first, self.second = FeedForward(1, phi), FeedForward(2, phi)

    def forward(self, x: Tensor, prompt: Tensor) -> Tensor:
        y = x + self.first(x + prompt)
        return y + self.second(y)


class Planted(LatentDiffusion):
    """Predicts by the denoiser, of latents [n, 1, l, c] as l tokens of c channels."""

    def __init__(self, phi: Callable[[Tensor], Tensor] = lambda x: x):
        self.denoiser, self.asked = Denoiser(phi), 0

    def predict(self, latents, t, conditioning):
        self.asked += len(latents)
        return self.denoiser(latents[:, 0], conditioning.hidden)[:, None]


def planted_point(model: Planted, whole: bool = False) -> PatchPoint:
    """Three tokens, and prompts that are added to each of them."""
    source = torch.Generator().manual_seed(0)
    latents = torch.randn(1, 1, 3, WIDTH, generator=source)
    clean, corrupted = (Conditioning(torch.randn(1, 1, WIDTH, generator=source)) for _ in range(2))
    branches, t = denoiser_branches(model.denoiser), torch.tensor([5])
    return patch_point(model, branches, latents, t, clean, corrupted, whole=whole)
