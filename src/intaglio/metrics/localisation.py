"""Localisation of maps: the share that lies where it should, and means of maps from the best to the worst by it."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Bool, Float
from torch import Tensor

NOTHING = 1e-7
"""Sum of the positive part of a map below which it lies nowhere."""
BINS = (0.0, 0.02, 0.05, 0.5, 0.95, 0.98, 1.0)
"""Bounds of the bins of aggregate maps, as shares of all maps from the best."""


def share_within(attribution: Float[Tensor, "h w"], cell: Bool[Tensor, "h w"]) -> float:
    """Share of a map's positive part that lies in a cell: its localisation; 0 for a map with no positive part."""
    positive = attribution.clamp(min=0).double()
    total = float(positive.sum())
    return 0.0 if total < NOTHING else float(positive[cell].sum()) / total


def bin_edges(count: int, bins: Sequence[float] = BINS) -> list[int]:
    """First map of each bin, and the count at the end.

    No bin is empty where there are as many maps as bins; fewer have a bin each, from the best and from the worst by
    turns.
    """
    most = len(bins) - 1
    if count < most:
        best, worst = (count + 1) // 2, count // 2
        return [min(k, best) + max(0, k - (most - worst)) for k in range(most + 1)]
    edges = [round(share * count) for share in bins]
    for k in range(1, most):  # at least one map each, from the best
        edges[k] = max(edges[k], edges[k - 1] + 1)
    for k in range(most - 1, 0, -1):  # and from the worst
        edges[k] = min(edges[k], edges[k + 1] - 1)
    return edges


def aggregated(
    maps: Float[Tensor, "n h w"], localisation: Sequence[float], bins: Sequence[float] = BINS
) -> Float[Tensor, "b h w"]:
    """Mean positive map of each bin, from the best localised to the worst; NaN for a bin without a map.

    Each map is first divided by its sum, so that none outweighs the others (ours). Source: AggAtt, Rao, Böhle and
    Schiele, arXiv 2205.10435, section 3.2; the bins are theirs.

    Args:
        maps: for the same cell of their grids.
        localisation: of each, as `share_within` has it.
        bins: bounds, as shares of all maps.
    """
    positive = maps.clamp(min=0)
    inside = torch.tensor(localisation, dtype=torch.float64)
    order = inside.argsort(descending=True, stable=True)
    scaled = positive / positive.sum((1, 2), keepdim=True).clamp(min=NOTHING)
    edges = bin_edges(len(maps), bins)
    return torch.stack([scaled[order[first:last]].mean(0) for first, last in pairwise(edges)])
