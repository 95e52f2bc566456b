"""Simulated unknown sources: tiny linear networks that change pictures a little, and the losses of their training."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import conv2d, cosine_similarity, normalize, relu

from intaglio.randomness import generator

WIDTH = 32
"""Channels between the two convolutions."""
SHAPES = {"first": (WIDTH, 3, 3, 3), "first bias": (WIDTH,), "second": (3, WIDTH, 3, 3), "second bias": (3,)}
"""Shapes of the weights of an augmentation net, by name."""
NUMBERS = sum(math.prod(shape) for shape in SHAPES.values())
"""Numbers of an augmentation net."""
MARGIN = 0.3
"""Distance of unit features by which another source must be farther than the own."""
NEARNESS, DIVERSITY, NEAR_ENOUGH = 1e-2, 1e-4, 0.05
"""Weights of the terms of features and of diversity, and the distance of features below which nothing is gained."""

Net = dict[str, Tensor]
"""Weights of an augmentation net by name."""


def fresh_net(seed: int, number: int) -> Net:
    """The first weights of augmentation net `number`: uniform within the root of the inverse of what goes in."""
    drawn = generator(seed, "augmentation net", number)
    bounds = {"first": (3 * 9) ** -0.5, "second": (WIDTH * 9) ** -0.5}
    return {
        name: (2 * torch.rand(shape, generator=drawn) - 1) * bounds[name.split()[0]] for name, shape in SHAPES.items()
    }


def packed_net(net: Net) -> Float[Tensor, "p"]:
    """All weights in one row, in the order of `SHAPES`."""
    return torch.cat([net[name].detach().flatten() for name in SHAPES])


def unpacked_net(row: Float[Tensor, "p"]) -> Net:
    """The inverse of `packed_net`."""
    parts = row.split([math.prod(shape) for shape in SHAPES.values()])
    return {name: part.view(shape) for (name, shape), part in zip(SHAPES.items(), parts, strict=True)}


def changed_by(net: Net, pixels: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 h w"]:
    """Pictures after both convolutions, of the same size; nothing but convolutions, so that the change is linear."""
    inner = conv2d(pixels, net["first"], net["first bias"], padding=1)
    return conv2d(inner, net["second"], net["second bias"], padding=1)


def net_loss(
    pixels: Float[Tensor, "n 3 h w"],
    changed: Float[Tensor, "n 3 h w"],
    features: Float[Tensor, "n f"],
    of_changed: Float[Tensor, "n f"],
    of_earlier: Float[Tensor, "n f"] | None,
) -> Float[Tensor, ""]:
    """MSE(A x, x) + 1e-2 max(1 - mean cos(f(x), f(A x)), 0.05) + 1e-4 mean cos(f(A x), f(A_j x)).

    So A changes little of the pictures, keeps their features as near as 0.05, where the term ends, and moves them
    elsewhere than an earlier net A_j does. The first net has the first term alone.
    """
    loss = (changed - pixels).square().mean()
    if of_earlier is None:
        return loss
    moved = (1 - cosine_similarity(features, of_changed).mean()).clamp_min(NEAR_ENOUGH)
    return loss + NEARNESS * moved + DIVERSITY * cosine_similarity(of_changed, of_earlier).mean()


def triplet_loss(features: Float[Tensor, "n f"], labels: Int[Tensor, "n"]) -> Float[Tensor, ""]:
    """Batch-hard triplets (arXiv 1703.07737) of directions: mean of max(0, farthest own - nearest other + 0.3).

    There are two labels or more. A row without another of its label has itself, at distance 0.
    """
    rows = normalize(features, dim=1)
    gaps = (2 - 2 * rows @ rows.T).clamp_min(1e-12).sqrt()
    own = labels[:, None] == labels
    farthest = gaps.masked_fill(~own, 0).amax(1)
    nearest = gaps.masked_fill(own, torch.inf).amin(1)
    return relu(farthest - nearest + MARGIN).mean()
