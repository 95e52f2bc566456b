"""Random generators as pure functions of a seed and labels, so that order, batch and resumption do not matter.

New code takes `generator`, or `numpy_generator` for numpy. The third algorithm stays for the bits that were made with
it: shipped networks, published benches and runs that are resumed all follow from the seeds of `seed_32bit`.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def generator(seed: int, *labels: object) -> "torch.Generator":
    """A torch generator on the CPU for a seed and labels, such as a picture's hash and a step.

    The state is the first 63 bits of SHA-256 over their texts, a line each.
    """
    import torch  # here, since simulators of tables need numpy alone

    text = "\n".join(str(part) for part in (seed, *labels))
    return torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1)


def numpy_generator(seed: int, *indices: int) -> np.random.Generator:
    """A numpy generator for a seed and indices, such as the number of a batch, all 0 or more: Philox, counter-based."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, *indices])))


def seed_32bit(seed: int, *labels: str | int) -> int:
    """A seed in 0..2^32 - 1 for a seed and labels: the first 32 bits of SHA-256 over their texts, joined by `/`."""
    text = "/".join(str(part) for part in (seed, *labels))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")


@contextmanager
def first_weights(seed: int, *labels: str | int) -> Iterator[None]:
    """A block in which layers are made with weights that follow from a seed and labels, by their own rules.

    Torch's generator of the CPU, which layers draw from, is afterwards as it was before.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed_32bit(seed, *labels))
        yield


def generator_32bit(seed: int, *labels: str | int) -> "torch.Generator":
    """A torch generator on the CPU with the seed `seed_32bit`: the draws of trainings, and of flows."""
    import torch

    return torch.Generator().manual_seed(seed_32bit(seed, *labels))
