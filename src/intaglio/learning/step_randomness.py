"""What a step sees, as a pure function of (seed, step): a resumed run needs no generator's state."""

import hashlib
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor


def seed_of(seed: int, *what: str | int) -> int:
    """A 32-bit seed for one named thing, independent of every other name's."""
    name = "/".join(str(part) for part in (seed, *what))
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little")


def generator(seed: int, *what: str | int) -> torch.Generator:
    """A generator for one named thing; on the CPU, so that every device sees the same numbers."""
    return torch.Generator().manual_seed(seed_of(seed, *what))


def batch_at(order: Sequence[int], step: int, batch: int, seed: int, stream: str) -> list[int]:
    """The `batch` entries of `order` that step `step` sees.

    Every epoch is a fresh permutation of `order`, and batches run on from one epoch into the next, so that each
    entry is seen exactly once an epoch whatever the batch size.
    """
    taken = []
    while len(taken) < batch:
        epoch, place = divmod(step * batch + len(taken), len(order))
        shuffled = torch.randperm(len(order), generator=generator(seed, stream, "epoch", epoch))
        taken += [order[i] for i in shuffled[place : place + batch - len(taken)].tolist()]
    return taken


def noise_at(shape: Sequence[int], step: int, seed: int) -> Float[Tensor, "..."]:
    """Standard normal noise of step `step`."""
    return torch.randn(*shape, generator=generator(seed, "noise", step))


def timesteps_at(count: int, timesteps: int, step: int, seed: int) -> Int64[Tensor, " n"]:
    """`count` uniform timesteps in 0..timesteps-1 for step `step`."""
    return torch.randint(timesteps, (count,), generator=generator(seed, "timesteps", step))


def dropped_at(count: int, probability: float, step: int, seed: int) -> Bool[Tensor, " n"]:
    """Which of `count` captions step `step` leaves out, each with `probability` in [0, 1]."""
    return torch.rand(count, generator=generator(seed, "dropout", step)) < probability
