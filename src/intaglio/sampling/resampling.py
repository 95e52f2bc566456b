"""Resampling of weighted particles, each picture's among themselves; weights are given by their logarithms."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def shares(log_w: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
    """The weights of each row, divided by their sum; equal ones where all are zero."""
    dead = (log_w == -torch.inf).all(1, keepdim=True)
    return torch.where(dead, 0.0, log_w).softmax(1)


def effective_share(log_w: Float[Tensor, "n k"]) -> Float[Tensor, "n"]:
    """Effective number of particles over their number, (Σw)² / (k Σw²)."""
    return 1 / (log_w.shape[1] * shares(log_w).square().sum(1))


def log_mean_exp(log_w: Float[Tensor, "n k"]) -> Float[Tensor, "n"]:
    """Logarithm of the mean weight of each row."""
    return log_w.logsumexp(1) - torch.tensor(float(log_w.shape[1]), dtype=log_w.dtype).log()


def systematic(log_w: Float[Tensor, "n k"], u: Float[Tensor, "n"]) -> Int[Tensor, "n k"]:
    """Systematic resampling: the particles at the quantiles (u + j) / k, j = 0 to k - 1, of the weights.

    A particle of share s has ⌊k s⌋ or ⌈k s⌉ descendants.
    """
    count = log_w.shape[1]
    places = (u[:, None] + torch.arange(count, dtype=u.dtype)) / count
    return torch.searchsorted(_steps(log_w), places.contiguous(), right=True).clamp(max=count - 1)


def one_of(log_w: Float[Tensor, "n k"], u: Float[Tensor, "n"]) -> Int[Tensor, "n"]:
    """One particle of each row, drawn by its weight: the one at the quantile u."""
    return torch.searchsorted(_steps(log_w), u[:, None].contiguous(), right=True).clamp(max=log_w.shape[1] - 1)[:, 0]


def _steps(log_w: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
    """The cumulative shares; the last is exactly 1."""
    steps = shares(log_w).cumsum(1)
    return steps / steps[:, -1:]
