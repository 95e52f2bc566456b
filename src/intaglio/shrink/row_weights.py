"""Weights of rows in a training by Bias Loss (arXiv 2107.11170): rows whose features vary little teach less."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

ALPHA, BETA = 0.3, 0.3
"""Of the published weights."""
STRATA = 4
"""Parts of a batch by timestep within which variances are compared: they follow the timestep above all."""


def bias_weights(
    variances: Float[Tensor, " n"], t: Int[Tensor, " n"], alpha: float = ALPHA, beta: float = BETA, strata: int = STRATA
) -> Float[Tensor, " n"]:
    """exp(α·v) - β, with v the variance scaled to 0..1 among the rows of like timesteps.

    Rows are sorted by timestep and parted into `strata` of nearly equal size; where all variances of one are equal, v
    is 0.
    """
    order, scaled = t.argsort(stable=True), torch.zeros_like(variances)
    for part in order.tensor_split(min(strata, len(t))):
        low, high = variances[part].min(), variances[part].max()
        if high > low:
            scaled[part] = (variances[part] - low) / (high - low)
    return (alpha * scaled).exp() - beta


def variances(features: Float[Tensor, "n *shape"]) -> Float[Tensor, " n"]:
    """Of each row, over all of its features."""
    return features.float().flatten(1).var(1)


@contextmanager
def last_features(denoiser: Any) -> Iterator[list[Tensor]]:
    """While the block runs, the list takes what the last layer is given, in the order of calls."""
    found = list[Tensor]()
    last = denoiser.conv_out if hasattr(denoiser, "conv_out") else denoiser.proj_out
    hook = last.register_forward_pre_hook(lambda module, given: found.append(given[0]))
    try:
        yield found
    finally:
        hook.remove()
