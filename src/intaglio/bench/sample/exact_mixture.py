"""`ExactMixture`: a diffusion model of a known mixture of normal distributions, whose prediction is exact."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Real
from torch import Tensor, nn

from intaglio.models.diffusion.baked_sampling import FREE
from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.noise_schedule import NoiseSchedule

SD: Mapping[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
"""Settings of the noise schedule of Stable Diffusion."""


class ExactMixture(LatentDiffusion):
    """Data Σ π_k(prompt) N(μ_k, v_k I), predicted exactly: ε = -n ∇ log Σ π_k N(s μ_k, s² v_k + n²).

    It stands in for a `LatentDiffusion` in the sampling loop: pictures are the latents themselves, and a prompt is a
    row of log weights of the components.
    """

    def __init__(
        self,
        means: Float[Tensor, "k c h w"],
        variances: Float[Tensor, "k"],
        prompts: Mapping[str, Sequence[float]],
        name: str = "an exact mixture",
    ):
        """Takes the components, and the log weights of each by the prompts, of which the empty one is one."""
        self.means, self.variances = means.double(), variances.double()
        self.prompts = {text: torch.tensor(row, dtype=torch.float32) for text, row in prompts.items()}
        self.schedule, self.sampling, self.name = NoiseSchedule.from_config(SD), FREE, name

    @property
    def latent_channels(self) -> int:
        return self.means.shape[1]

    @property
    def resolution(self) -> int:
        return self.means.shape[2]

    @property
    def factor(self) -> int:
        return 1

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    @property
    def dtype(self) -> torch.dtype:
        return torch.float32

    @property
    def parts(self) -> dict[str, nn.Module]:
        return {}

    @property
    def fingerprint(self) -> str:
        return "0" * 64

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Nothing to freeze."""
        yield

    def embed(self, prompts: Sequence[str], *, negative: bool = False) -> Conditioning:
        """The log weights of the prompts' components, as texts of one token."""
        return Conditioning(torch.stack([self.prompts[text] for text in prompts])[:, None])

    def decode(
        self, latents: Float[Tensor, "n c h w"], *, spare_failed: bool = False, clamp: bool = True
    ) -> Float[Tensor, "n c h w"]:
        """The latents."""
        return latents

    def encode(
        self, pixels: Float[Tensor, "n c h w"], generators: Sequence[torch.Generator] | None = None
    ) -> Float[Tensor, "n c h w"]:
        """The pixels."""
        return pixels

    def predict(
        self, latents: Float[Tensor, "n *shape"], t: Real[Tensor, "n"], conditioning: Conditioning
    ) -> Float[Tensor, "n *shape"]:
        """The expected noise, differentiable in the latents."""
        kept = torch.is_grad_enabled() and latents.requires_grad
        with torch.enable_grad():
            x = latents.double() if kept else latents.detach().double().requires_grad_(True)
            density = self.log_density(x, t, conditioning).sum()
            (gradient,) = torch.autograd.grad(density, x, create_graph=kept)
        return (-self.schedule.noises[t].view(-1, 1, 1, 1) * gradient).float()

    def log_density(
        self, x: Float[Tensor, "n c h w"], t: Real[Tensor, "n"], conditioning: Conditioning
    ) -> Float[Tensor, "n"]:
        """Logarithm of the density of noised data."""
        s, n = self.schedule.signals[t].double(), self.schedule.noises[t].double()
        spread = s[:, None] ** 2 * self.variances + n[:, None] ** 2
        square = (x[:, None] - s.view(-1, 1, 1, 1, 1) * self.means).flatten(2).square().sum(2)
        shares = conditioning.hidden[:, 0].double().log_softmax(1)
        size = self.means[0].numel()
        return (shares - square / (2 * spread) - size / 2 * (2 * torch.pi * spread).log()).logsumexp(1)
