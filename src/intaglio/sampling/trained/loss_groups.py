"""Groups of pictures by the losses of a model, found without labels, and the risk that they set to a training."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from intaglio.randomness import generator

ALIKE = 1e-6
"""Deviation of the losses over their mean, below which they are the same but for rounding."""
TINY = 1e-12
"""Least variance over groups that has a gradient, in variances of the losses."""
LEAST = 1e-6
"""Weight in pictures below which a group is empty."""


class GroupRisk(NamedTuple):
    """Mean and variance over the groups' mean losses, a number each; empty groups are left out."""

    mean: Float[Tensor, ""]
    variance: Float[Tensor, ""]


def loss_groups(
    losses: Float[Tensor, " n"], count: int, *, epochs: int, rate: float, balance: float, seed: int
) -> Float64[Tensor, "n g"]:
    """Weights of n pictures in `count` groups, rows on the simplex, whose mean losses lie far apart.

    Adam (arXiv 1412.6980) climbs `group_spread`; after each update the weights are clipped at 0 and each row divided by
    its sum. Gradients go through that division: without it both weights of a picture may fall by Adam's equal steps,
    the division undoes them, and the picture is stuck in a group that it does not belong to. It begins at rows that are
    uniform on the simplex. Losses that are all alike leave it at that.

    Args:
        losses: one a picture; their scale and offset make no difference.
        count: of groups, 2 or more.
        epochs: updates.
        rate: of Adam.
        balance: weight of the smallest group's share.
        seed: of the first weights.
    """
    given = losses.detach().cpu().double()
    drawn = torch.rand(len(given), count, generator=generator(seed, "groups"), dtype=torch.float64)
    spans = -drawn.clamp(min=TINY).log()
    weights = spans / spans.sum(1, keepdim=True)
    deviation = given.std(unbiased=False)
    if not bool(deviation > ALIKE * given.abs().mean()):
        return weights
    scaled = (given - given.mean()) / deviation
    weights.requires_grad_(True)
    optimiser = torch.optim.Adam([weights], lr=rate, maximize=True)
    for _ in range(epochs):
        optimiser.zero_grad()
        with torch.enable_grad():
            group_spread(scaled, weights / weights.sum(1, keepdim=True), balance).backward()
        optimiser.step()
        with torch.no_grad():
            weights.copy_(_on_simplex(weights))
    return weights.detach()


def group_spread(losses: Float[Tensor, " n"], weights: Float[Tensor, "n g"], balance: float = 0.0) -> Float[Tensor, ""]:
    """Standard deviation over the groups' mean losses, and `balance` times the smallest group's share of the pictures.

    The share of group g is the mean of its column of weights, at most 1 / g where all are as large.
    """
    means = group_means(losses, weights)
    return means.var(unbiased=False).clamp(min=TINY).sqrt() + balance * weights.mean(0).min()


def group_risk(losses: Float[Tensor, " n"], weights: Float[Tensor, "n g"]) -> GroupRisk:
    """Mean and variance over the means of the groups that are in a batch; with one of them the variance is 0."""
    means = group_means(losses, weights[:, weights.sum(0) > LEAST])
    return GroupRisk(means.mean(), means.var(unbiased=False))


def group_means(losses: Float[Tensor, " n"], weights: Float[Tensor, "n g"]) -> Float[Tensor, " g"]:
    """The mean loss of each group, `Σᵢ wᵢg lᵢ / Σᵢ wᵢg`; 0 for one without pictures."""
    return (weights * losses[:, None]).sum(0) / weights.sum(0).clamp(min=LEAST)


def _on_simplex(weights: Float64[Tensor, "n g"]) -> Float64[Tensor, "n g"]:
    """Weights clipped at 0, each row over its sum; equal ones in a row without any."""
    clipped = weights.clamp(min=0)
    total = clipped.sum(1, keepdim=True)
    return torch.where(total > 0, clipped / total.clamp(min=TINY), 1 / weights.shape[1])
