"""Random masks of updates, a function of a seed, a model's content and a weight's name alone."""

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

LEVELS = 1 << 32
"""Values of a random word."""


def kept_mask(shape: Sequence[int], drop: float, seed: int, model: str, place: str) -> Bool[Tensor, "*shape"]:
    """Whether each number is kept, independently with probability 1 - drop, to 2^-32.

    The words are those of the counter-based generator Philox as they come, which no version of numpy changes; its key
    is the first half of SHA-256 over the labels.

    Args:
        shape: of the weight.
        drop: probability of being dropped, in [0, 1).
        seed: any whole number.
        model: fingerprint of the model whose update it is.
        place: name of the weight.
    """
    count = int(np.prod(shape, dtype=np.int64))
    digest = hashlib.sha256("\n".join(("drop mask", str(seed), model, place)).encode()).digest()
    source = np.random.Philox(key=int.from_bytes(digest[:16], "little"))
    words = source.random_raw((count + 1) // 2).astype("<u8").view("<u4")[:count]
    return torch.from_numpy(words >= round(drop * LEVELS)).view(*shape)
