"""`ExactMixture`: a diffusion model of a known mixture of normal distributions, whose prediction is exact."""

from contextlib import nullcontext

import torch

from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.noise_schedule import NoiseSchedule

SD = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


class ExactMixture(LatentDiffusion):
    """Data Σ π_k(prompt) N(μ_k, v_k I); the noise is -n ∇ log Σ π_k N(s μ_k, s² v_k + n²) at signal s and noise n.

    Looks like a `LatentDiffusion` to the sampling loop: pixels are the latents, a prompt is a row of log weights.

    Args:
        means: [components, c, h, w].
        variances: of each component.
        prompts: log weights of the components by prompt; the empty prompt is one of them.
    """

    def __init__(self, means, variances, prompts, name="a mixture"):
        self.means = torch.as_tensor(means, dtype=torch.float64)
        self.variances = torch.as_tensor(variances, dtype=torch.float64)
        self.prompts = {text: torch.as_tensor(row, dtype=torch.float32) for text, row in prompts.items()}
        self.schedule, self.name = NoiseSchedule.from_config(SD), name

    latent_channels = property(lambda self: self.means.shape[1])
    resolution = property(lambda self: self.means.shape[2])
    factor = property(lambda self: 1)
    device = property(lambda self: torch.device("cpu"))
    dtype = property(lambda self: torch.float32)
    parts = property(lambda self: {})
    fingerprint = property(lambda self: "0" * 64)

    def frozen(self):
        return nullcontext()

    def embed(self, prompts):
        return Conditioning(torch.stack([self.prompts[text] for text in prompts])[:, None])

    def decode(self, latents, *, spare_failed=False, clamp=True):
        return latents

    def encode(self, pixels, generators=None):
        return pixels

    def predict(self, latents, t, conditioning):
        with torch.enable_grad():
            x = latents.double()
            x = x if x.requires_grad else x.detach().requires_grad_(True)
            kept = latents.requires_grad
            noise = self.schedule.noises[t].view(-1, 1, 1, 1)
            (gradient,) = torch.autograd.grad(self.log_density(x, t, conditioning).sum(), x, create_graph=kept)
            found = (-noise * gradient).float()
        return found if kept else found.detach()

    def log_density(self, x, t, conditioning):
        """Logarithm of the density of noised data [n], up to no constant."""
        s, n = self.schedule.signals[t].double(), self.schedule.noises[t].double()
        spread = s[:, None] ** 2 * self.variances + n[:, None] ** 2
        off = x[:, None] - s.view(-1, 1, 1, 1, 1) * self.means[None]
        square = off.flatten(2).square().sum(2)
        d = self.means[0].numel()
        logits = conditioning.hidden[:, 0].double().log_softmax(1)
        if len(logits) == 1 < len(x):
            logits = logits.expand(len(x), -1)
        return (logits - square / (2 * spread) - d / 2 * (2 * torch.pi * spread).log()).logsumexp(1)


def drawn(model, method=None, *, prompt="", count, steps, scale=1.0, negative="", sampler="ddim", **options):
    """Latents [count, ...] of one prompt, by seeds from 0 on."""
    from intaglio.sampling.loop import latent_batches

    batches = latent_batches(
        model,
        [prompt] * count,
        range(count),
        sampler=sampler,
        steps=steps,
        guidance_scale=scale,
        negative=negative,
        method=method,
        batch=count,
        **options,
    )
    return torch.cat(list(batches))
