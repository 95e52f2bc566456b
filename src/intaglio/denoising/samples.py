"""Samples of the denoising error: timesteps, stratified over a range, and the noise at each."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from intaglio.randomness import generator


def stratified_timesteps(count: int, limits: tuple[int, int], source: torch.Generator) -> Int[Tensor, "k"]:
    """One timestep from each of `count` equal bins of limits[0]..limits[1] inclusive; uniform where `count` is 1."""
    low, high = limits
    shares = (
        torch.arange(count, dtype=torch.float64) + torch.rand(count, dtype=torch.float64, generator=source)
    ) / count
    # A share that rounds up to 1 would be one timestep too far.
    return (low + (shares * (high - low + 1)).long()).clamp(max=high)


def standard_normal(count: int, shape: tuple[int, ...], source: torch.Generator) -> Float[Tensor, "k *shape"]:
    """Unit noise, float32 [count, *shape]."""
    return torch.randn(count, *shape, generator=source)


def fixed_samples(
    count: int, shape: tuple[int, ...], limits: tuple[int, int], seed: int, draws: int = 1
) -> tuple[Float[Tensor, "1 k c h w"], Int[Tensor, "1 k"]]:
    """Noise and timesteps for every picture alike, so that their errors compare: `draws` times `count` of each.

    Args:
        count: timesteps of a draw, stratified over `limits`.
        shape: a latent's, (c, h, w).
        limits: lowest and highest timestep, both included.
        seed: of the first draw; the k-th after it has this number plus k.
        draws: repetitions with other timesteps and noise.
    """
    times, noises = [], []
    for draw in range(draws):
        source = generator(seed + draw, "fixed samples", *shape)
        times.append(stratified_timesteps(count, limits, source))
        noises.append(standard_normal(count, shape, source))
    return torch.cat(noises)[None], torch.cat(times)[None]
