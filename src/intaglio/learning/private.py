"""Private steps of a training: records drawn each by itself, their gradients clipped, summed and noised.

The noise and the draws follow from a key of 256 bits. Who knows it can subtract the noise, so it must be drawn at
random, as `new_key` does, and thrown away when the training has ended. The generator behind it is no cryptographic one.
"""

import secrets
from collections.abc import Iterable, Mapping

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from intaglio.learning.per_sample import Gradients, clipped
from intaglio.randomness import generator

WORDS = 4
"""Numbers of a key, of 64 bits each."""
Key = Int64[Tensor, "4"]
"""A secret that noise and draws follow from; a tensor, so that it is saved with the state of a training."""


def new_key() -> Key:
    """A key drawn by the operating system."""
    return torch.tensor([secrets.randbits(64) - (1 << 63) for _ in range(WORDS)])


def known_key(seed: int) -> Key:
    """A key that follows from a seed: draws that can be repeated, and protect only while the seed is secret."""
    return torch.tensor([seed, 0, 0, 0])


def poisson_batch(count: int, rate: float, step: int, key: Key) -> list[int]:
    """The records of 0..count-1 that step `step` is given, each with probability `rate` in (0, 1] by itself."""
    # A generator gives 1 never, so that a rate of 1 takes all.
    drawn = torch.rand(count, generator=_generator(key, "records", step), dtype=torch.float64)
    return torch.nonzero(drawn < rate)[:, 0].tolist()


def private_gradient(
    rows: Iterable[Gradients],
    weights: Mapping[str, Tensor],
    *,
    bound: float,
    sigma: float,
    expected: float,
    step: int,
    key: Key,
) -> dict[str, Float[Tensor, "..."]]:
    """The noised mean of clipped gradients: (sum over records + N(0, sigma^2 bound^2)) / expected.

    Args:
        rows: gradients of the step's records, some at a time, by the names of the weights; none is a sum of 0.
        weights: the trained tensors, which give the shapes and order.
        bound: largest norm of a record's gradient over all weights, above 0 (C).
        sigma: deviation of the noise in units of the bound, 0 or more.
        expected: records a step on average, q N, above 0; the number that was drawn is private itself.
        step: number of the step; another one has other noise.
        key: what the noise follows from.
    """
    sums = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    for part in rows:
        for name, gradients in clipped(part, bound).items():
            sums[name] += gradients.sum(0)
    for name, total in sums.items():
        noise = torch.randn(total.shape, generator=_generator(key, "noise", step, name))
        total.add_(noise.to(total), alpha=sigma * bound).div_(expected)
    return sums


def _generator(key: Key, *labels: object) -> torch.Generator:
    return generator(0, "private step", *key.tolist(), *labels)
