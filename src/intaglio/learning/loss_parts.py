"""Losses of a step, some rows at a time, and their mean at the end of a training."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from intaglio.learning.loop import StepLoss


def in_parts(count: int, most: int | None, errors_of: Callable[[slice], Float[Tensor, " n"]]) -> StepLoss:
    """Mean of the errors of `count` rows, with its gradients, `most` rows at a time; None: all at once."""
    size, mean = most or count, 0.0
    for first in range(0, count, size):
        loss = errors_of(slice(first, min(first + size, count))).sum() / count
        loss.backward()
        mean += float(loss.detach())
    return StepLoss(mean)


def last_mean(losses: Float[Tensor, " steps"]) -> float:
    """Mean of the last tenth of some losses, one at least."""
    return float(losses[-max(1, len(losses) // 10) :].mean())
