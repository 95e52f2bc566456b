"""Denoising of noised latents over a few timesteps, differentiable by the latents: edits, and purifiers by a model."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion

Latents = Float[Tensor, "n c h w"]


def timesteps(model: LatentDiffusion, share: float, steps: int) -> list[int]:
    """At most `steps` timesteps, descending and evenly spaced, the first at this share of the model's, in (0, 1].

    The walk ends in clean latents, which are a step of their own after the last.
    """
    last = int(model.schedule.signals.nonzero().max())  # without signal there is nothing to predict it from
    first = max(1, min(round(share * (model.schedule.count - 1)), last))
    places = torch.linspace(first, 0, min(steps, first) + 1)[:-1]
    return places.round().long().tolist()


def walked(
    model: LatentDiffusion,
    latents: Latents,
    text: Conditioning,
    times: Sequence[int],
    sources: Sequence[torch.Generator],
    *,
    eta: float = 0.0,
) -> Latents:
    """Latents noised up to the first of `times` and denoised along them down to clean ones (DDIM, arXiv 2010.02502).

    Args:
        model: its denoiser is called once a timestep.
        latents: clean ones, scaled, on the CPU.
        text: one row, for all of them.
        times: descending.
        sources: a generator a row, for the noise.
        eta: share of the noise that is drawn anew at each step, in [0, 1]; 0 is deterministic, 1 is DDPM's.
    """
    signals, noises = (table[list(times)].tolist() for table in (model.schedule.signals, model.schedule.noises))
    z = model.noised(latents, _noise(latents, sources), torch.full((len(latents),), times[0]))
    for place, (now, signal, noise) in enumerate(zip(times, signals, noises, strict=True)):
        t = torch.full((len(z),), now, device=model.device)
        predicted = model.predict(z.to(model.device), t, text).cpu()
        clean = (z - noise * predicted) / signal
        if place == len(times) - 1:
            return clean
        signal_after, noise_after = signals[place + 1], noises[place + 1]
        fresh = eta * noise_after * (1 - (noise_after * signal / (signal_after * noise)) ** 2) ** 0.5
        z = signal_after * clean + (noise_after**2 - fresh**2) ** 0.5 * predicted
        if fresh:
            z = z + fresh * _noise(latents, sources)
    raise ValueError("there must be a timestep to begin at")


def _noise(latents: Latents, sources: Sequence[torch.Generator]) -> Latents:
    return torch.stack([torch.randn(latents.shape[1:], generator=source) for source in sources])
