"""Measures of descriptors: the originals of changed copies told from their twins, and from all other pictures."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from intaglio.randomness import generator

TWINS, OTHERS = 2, 37
"""Pictures most like one, and further ones by chance, that its copies are compared with."""
SAME = 0.05
"""Distance below which two pictures are one drawing, perhaps mirrored."""
COARSE = 32
"""Pixels of a side at which pictures are compared, at most."""
FALSE_RATE = 0.01
"""Share of twins that are taken for originals."""
AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class CopyScores:
    """Cosines of k copies of each of m pictures."""

    own: Float[ndarray, "m k"]
    """To their original."""
    twins: Float[ndarray, "m k 2"]
    """To the two pictures most like their original."""
    hits: Bool[ndarray, "m k"]
    """Whether the original is the nearest of all pictures."""
    precision: float
    """Average precision over all pairs of copies and the pictures that they are compared with."""


def drawn_distances(some: Float[Tensor, "m 3 h w"], pixels: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "m n"]:
    """Difference of ink (1 - colour) over the geometric mean of the two inks, mirrored or not, at 32 pixels a side."""
    side = min(COARSE, *pixels.shape[-2:])
    first, second = (adaptive_avg_pool2d(1 - one, side) for one in (some, pixels))
    mirrored = second.flip(-1).flatten(1)
    first, second = first.flatten(1), second.flatten(1)
    inner = torch.maximum(first @ second.T, first @ mirrored.T)
    ink, others = first.square().sum(1)[:, None], second.square().sum(1)[None]
    return (ink + others - 2 * inner).clamp_min(0).sqrt() / (ink * others).clamp_min(1e-12) ** 0.25


def line_up(pixels: Float[Tensor, "n 3 h w"], held: Int[Tensor, " m"], seed: int) -> Int[Tensor, "m l"]:
    """Places of what copies are compared with: the original, its twins, and others by chance, each picture once."""
    apart = torch.cat([drawn_distances(pixels[some], pixels) for some in held.split(AT_ONCE)])
    apart[apart < SAME] = torch.inf
    apart[torch.arange(len(held)), held] = torch.inf
    twins = apart.topk(TWINS, largest=False).indices
    chance = torch.rand(apart.shape, generator=generator(seed, "line-up"))
    chance = chance.masked_fill(apart.isinf(), -1).scatter(1, twins, -2)
    others = chance.topk(min(OTHERS, len(pixels) - 1 - TWINS)).indices
    return torch.cat([held[:, None], twins, others], 1)


def copy_scores(copies: Float[Tensor, "m k d"], every: Float[Tensor, "n d"], shown: Int[Tensor, "m l"]) -> CopyScores:
    """Of descriptors of copies and of all pictures, each of unit length."""
    scores = torch.einsum("mkd,mld->mkl", copies, every[shown])
    nearest = torch.cat([(some @ every.T).argmax(-1) for some in copies.split(AT_ONCE)])
    hits = nearest == shown[:, :1]
    both = scores.double().numpy()
    return CopyScores(both[:, :, 0], both[:, :, 1 : 1 + TWINS], hits.numpy(), average_precision(both))


def average_precision(scores: Float[ndarray, "m k l"]) -> float:
    """Over all pairs, of which the first of each row is right."""
    rows = scores.reshape(-1, scores.shape[-1])
    order = np.argsort(-rows.ravel(), kind="stable")
    right = order % rows.shape[1] == 0
    precision = right.cumsum() / np.arange(1, len(right) + 1)
    return float(precision[right].mean())


def found_among_twins(own: Float[ndarray, "*b m k"], twins: Float[ndarray, "*b m k 2"]) -> Float[ndarray, "*b"]:
    """Share of copies that are nearer to their original than all but 1% of copies are to a twin."""
    flat = twins.reshape(*twins.shape[:-3], -1)
    threshold = np.quantile(flat, 1 - FALSE_RATE, axis=-1)
    return np.asarray((own.reshape(*own.shape[:-2], -1) > threshold[..., None]).mean(-1))
