"""Noise and timesteps as pure functions of a seed and labels, so that order, batch and resumption do not matter."""

import hashlib

import torch
from jaxtyping import Float, Int
from torch import Tensor


def generator(seed: int, *labels: object) -> torch.Generator:
    """A CPU generator that depends on the seed and the labels alone, such as a picture's hash and a step."""
    text = "\n".join(str(part) for part in (seed, *labels))
    return torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1)


def stratified_timesteps(count: int, limits: tuple[int, int], source: torch.Generator) -> Int[Tensor, "k"]:
    """One integer from each of `count` equal bins of limits[0]..limits[1] inclusive; uniform where `count` is 1."""
    low, high = limits
    places = (
        torch.arange(count, dtype=torch.float64) + torch.rand(count, dtype=torch.float64, generator=source)
    ) / count
    # A place that rounds up to 1 would be one timestep too far.
    return (low + (places * (high - low + 1)).long()).clamp(max=high)


def standard_normal(count: int, shape: tuple[int, ...], source: torch.Generator) -> Float[Tensor, "k *shape"]:
    """float32 [count, *shape]"""
    return torch.randn(count, *shape, generator=source)
