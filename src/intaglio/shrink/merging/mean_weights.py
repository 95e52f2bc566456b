"""Means of weights, and weighed sums of updates, in float64."""

from collections.abc import Sequence

import torch
from torch import Tensor

from intaglio.errors import BadInput, require
from intaglio.shrink.merging.merged_weights import Rule
from intaglio.shrink.merging.weight_places import Place

MOST_SCALE = 10.0
"""Greatest scale of merged updates; above some units the model draws noise."""


def mean_rule(chosen: Sequence[int]) -> Rule:
    """The mean over the models at these places of the list."""

    def mean(place: Place, each: list[Tensor]) -> Tensor:
        return sum((each[k] for k in chosen), torch.zeros_like(each[0])) / len(chosen)

    return mean


def update_sum(each: Sequence[Tensor], base: Tensor, factors: Sequence[float]) -> Tensor:
    """Base + sum_k factor_k (weight_k - base)."""
    return base + sum((f * (w - base) for f, w in zip(factors, each, strict=True)), torch.zeros_like(base))


def check_scale(scale: float) -> None:
    """Raises `ValueError` for a scale outside (0, 10]."""
    require(0 < scale <= MOST_SCALE, f"scale must be above 0 and at most {MOST_SCALE:g}, not {scale}")


def check_weights(weights: Sequence[float]) -> None:
    """Raises `ValueError` for weights that are not finite, or all zero."""
    finite = all(abs(weight) < float("inf") for weight in weights)
    require(finite and (not weights or any(weights)), f"weights must be finite numbers, not all 0, not {weights}")


def equal_or_given(weights: Sequence[float], count: int) -> tuple[float, ...]:
    """The weights, or 1 / count each where none are given. Raises `BadInput` for another number of them."""
    if weights and len(weights) != count:
        raise BadInput(f"{len(weights)} weights are given for {count} models; give one each, or none for equal ones")
    return tuple(weights) or (1 / count,) * count
