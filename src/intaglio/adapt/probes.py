"""Diagnostics of a denoiser in few-shot fine-tuning: noise passed through, collapse, and estimated deviation.

A model tuned on one latent x' is modelled as x_0 ~ N(x', s^2). Its prediction of x_0 from x_t = a x_0 + b noise, with
a = sqrt(alphas_cumprod) and b^2 = 1 - a^2, is then (arXiv 2405.19931, equations 1 and 2)

    x' + kappa (x_t - a x'),    kappa = a s^2 / (a^2 s^2 + b^2).

Corruption is a large s once x' is all that the model draws; s near 0 is over-fitting. The three measure kappa at low
noise, the cosine of x' and the prediction from x_t = 0, and s. They turn the paper's experiments (figures 3 to 5) into
numbers; the inversion for s is ours.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Real
from torch import Tensor

from intaglio.models.diffusion.latent_diffusion import Conditioning, LatentDiffusion
from intaglio.randomness import generator_32bit

LOW_NOISE, HIGH_NOISE = 0.1, 0.9
"""Shares of the schedule at which pass-through (step 100 of 1000 in the paper) and collapse are measured."""
PATCH = 4
"""The patch that noise is added to has a PATCH-th of the latents' height and width, and lies in the middle."""
NOISES = 4
"""Noises that the pass-through is a mean over, of as many pictures, repeated where there are fewer."""
TIMESTEPS = 8
"""Timesteps that the deviation is a mean over, evenly over the schedule."""
KAPPA_LIMIT = 0.999
"""Largest kappa as a share of 1 / a, which would be an infinite deviation."""


@dataclass(frozen=True)
class Probes:
    """The three diagnostics of one model."""

    pass_through: float
    """kappa at a tenth of the schedule: how much of the noise added to a patch the prediction keeps; 1 / a: all."""
    pass_through_error: float
    """Its standard error over the noises."""
    collapse: float
    """Cosine of the prediction from x_t = 0 and the nearest training latent, in [-1, 1]."""
    deviation: float
    """s, of the distribution around the nearest training latent; meaningless while `collapse` is low."""


@torch.no_grad()
def probe(model: LatentDiffusion, latents: Float[Tensor, "n c h w"], conditioning: Conditioning, seed: int) -> Probes:
    """All three diagnostics of a model, which is left as found; the same noises for the same seed.

    Args:
        model: as it would be exported now.
        latents: of the training pictures, on the model's device.
        conditioning: one row, the prompt of the training pictures.
        seed: of the noises.
    """
    with model.frozen():
        kappas = pass_through(model, latents, conditioning, seed)
        error = float(kappas.std()) / len(kappas) ** 0.5
        return Probes(
            float(kappas.mean()),
            error,
            float(collapse(model, latents, conditioning)),
            float(deviations(model, latents, conditioning, seed).mean()),
        )


def pass_through(
    model: LatentDiffusion, latents: Float[Tensor, "n c h w"], conditioning: Conditioning, seed: int
) -> Float[Tensor, " draws"]:
    """The gain |x_0(x_t + d) - x_0(x_t)| / |d| inside a patch, a number a noise; kappa for the Gaussian.

    d is noise as strong as x_t's own within the patch, and 0 beside it.
    """
    chosen = latents[[index % len(latents) for index in range(NOISES)]]
    t = torch.full((NOISES,), _step(model, LOW_NOISE), device=latents.device)
    own, added = torch.randn(2, *chosen.shape, generator=generator_32bit(seed, "probe", "patch")).to(latents)
    added = added * _patch(chosen) * _each(model.schedule.noise(t), added)
    noised = model.noised(chosen, own, t)
    moved = predicted_clean(model, noised + added, t, conditioning) - predicted_clean(model, noised, t, conditioning)
    return (moved * _patch(chosen)).flatten(1).norm(dim=1) / added.flatten(1).norm(dim=1)


def collapse(
    model: LatentDiffusion, latents: Float[Tensor, "n c h w"], conditioning: Conditioning
) -> Float[Tensor, ""]:
    """The largest cosine of a training latent and the prediction from x_t = 0, nine tenths up the schedule."""
    t = torch.full((1,), _step(model, HIGH_NOISE), device=latents.device)
    found = predicted_clean(model, torch.zeros_like(latents[:1]), t, conditioning)
    return torch.cosine_similarity(found.flatten(1), latents.flatten(1)).max()


def deviations(
    model: LatentDiffusion, latents: Float[Tensor, "n c h w"], conditioning: Conditioning, seed: int
) -> Float[Tensor, " times"]:
    """The deviation s at some timesteps: from x_t ~ N(0, b^2), with x* the training latent nearest to the prediction
    x_0,

    kappa = <x_0 - x*, x_t - a x*> / |x_t - a x*|^2,    s^2 = kappa b^2 / (a (1 - a kappa)).
    """
    t = torch.tensor([_step(model, (index + 1) / (TIMESTEPS + 1)) for index in range(TIMESTEPS)], device=latents.device)
    noise = torch.randn(TIMESTEPS, *latents.shape[1:], generator=generator_32bit(seed, "probe", "deviation")).to(
        latents
    )
    a, b = (_each(part, noise) for part in (model.schedule.signal(t), model.schedule.noise(t)))
    found = predicted_clean(model, b * noise, t, conditioning)
    nearest = latents[torch.cdist(found.flatten(1), latents.flatten(1)).argmin(1)]
    away = b * noise - a * nearest
    kappa = ((found - nearest) * away).flatten(1).sum(1) / away.flatten(1).square().sum(1)
    a, b = a.flatten(), b.flatten()
    kappa = kappa.clamp_min(0).minimum(KAPPA_LIMIT / a)
    return (kappa * b.square() / (a * (1 - a * kappa))).sqrt()


def predicted_clean(
    model: LatentDiffusion, noised: Float[Tensor, "n c h w"], t: Real[Tensor, " n"], conditioning: Conditioning
) -> Float[Tensor, "n c h w"]:
    """The model's prediction of the clean latents, x_0 = (x_t - b noise) / a."""
    noise = model.predict(noised, t, conditioning)
    a, b = (_each(part, noise) for part in (model.schedule.signal(t), model.schedule.noise(t)))
    return ((noised - b * noise) / a).to(noised)


def _step(model: LatentDiffusion, share: float) -> int:
    return min(model.schedule.count - 1, int(share * model.schedule.count))


def _each(numbers: Tensor, like: Tensor) -> Tensor:
    return numbers.to(like).view(-1, 1, 1, 1)


def _patch(latents: Float[Tensor, "n c h w"]) -> Float[Tensor, "h w"]:
    height, width = latents.shape[-2:]
    tall, wide = max(1, height // PATCH), max(1, width // PATCH)
    mask = torch.zeros(height, width, device=latents.device)
    top, left = (height - tall) // 2, (width - wide) // 2
    mask[top : top + tall, left : left + wide] = 1
    return mask
