"""Measures of small denoisers in fine-tuning: learned width by noise level, and what their samples are.

The mean slope of the predicted x_0 in x_t, over x_t = a x' + b noise around a training point x', is

    kappa = E tr(d x_0 / d x_t) / d,    s^2 = kappa b^2 / (a (1 - a kappa)),

by inverting kappa = a s^2 / (a^2 s^2 + b^2) of data N(x', s^2 I) (arXiv 2405.19931, equations 1 and 2). The same mean
over some coordinates gives the width along them: along the signal, and across it, where all there is is noise.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from intaglio.bench.finetune.exact_ground import NO_LABEL, SCHEDULE, SIGNAL, SIZE, levels
from intaglio.randomness import generator_32bit

Denoiser = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Predicts the noise in points [*n d] from these, their timesteps [*n] and labels [*n]."""
PROBED = tuple(range(100, 1000, 100))
"""Timesteps of the slopes."""
NOISES = 16
"""Noises around each training point, each with its mirror image among them."""
LIMIT = 0.999
"""Largest slope as a share of 1 / a, which would be an infinite width."""


def slopes(
    network: Denoiser, points: Float[Tensor, "*w p d"], label: int
) -> tuple[Float[Tensor, "*w times"], Float[Tensor, "*w times"]]:
    """Kappa along and across the signal, by probed timestep: means over points and noises."""
    noise = torch.randn(NOISES // 2, SIZE, generator=generator_32bit(0, "slopes"))
    t = torch.tensor(PROBED)[:, None, None].expand(*points.shape[:-2], len(PROBED), points.shape[-2], NOISES)
    a, b = levels(t)
    x = (a * points[..., None, :, None, :] + b * torch.cat([noise, -noise])).flatten(-4, -2).requires_grad_(True)
    flat = t.flatten(-3)
    found = predicted_clean(network, x, flat, torch.full_like(flat, label))
    parts = [torch.autograd.grad(found[..., k].sum(), x, retain_graph=True)[0][..., k] for k in range(SIZE)]
    each = torch.stack(parts, -1).unflatten(-2, (len(PROBED), -1)).mean(-2)
    return each[..., :SIGNAL].mean(-1), each[..., SIGNAL:].mean(-1)


def width(kappa: Float[Tensor, "*w times"]) -> Float[Tensor, "*w times"]:
    """The deviation s of data around a training point that has slope kappa, clipped to 0..0.999 / a."""
    a, b = (part.flatten() for part in levels(torch.tensor(PROBED)))
    kappa = kappa.clamp_min(0).minimum(LIMIT / a)
    return (kappa * b.square() / (a * (1 - a * kappa))).sqrt()


def predicted_clean(
    network: Denoiser, x: Float[Tensor, "*n d"], t: Int[Tensor, "*n"], labels: Int[Tensor, "*n"]
) -> Float[Tensor, "*n d"]:
    """The predicted x_0 = (x_t - b noise) / a."""
    a, b = levels(t)
    return (x - b * network(x, t, labels)) / a


@torch.no_grad()
def ddim(
    network: Denoiser, starts: Float[Tensor, "*n d"], label: int, guidance: float = 1.0, steps: int = 25
) -> Float[Tensor, "*n d"]:
    """Samples from starts by DDIM with eta 0 (arXiv 2010.02502, equation 12); the last step goes to noise 0.

    Guidance w takes the noise e_0 + w (e - e_0), with e_0 of the whole mixture (arXiv 2207.12598).
    """
    times = [round((SCHEDULE.count - 1) * (1 - index / steps)) for index in range(steps)]
    x = starts
    for time, following in zip(times, [*times[1:], None], strict=True):
        t = torch.full(x.shape[:-1], time)
        noise = network(x, t, torch.full_like(t, label))
        if guidance != 1:
            without = network(x, t, torch.full_like(t, NO_LABEL))
            noise = without + guidance * (noise - without)
        a, b = levels(t)
        clean = (x - b * noise) / a
        if following is not None:
            a, b = levels(torch.full_like(t, following))
            clean = a * clean + b * noise
        x = clean
    return x
