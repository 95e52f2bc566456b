"""Checks of importances of points: what is lost when they go, and what swaps of times between series change."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score
from torch import Tensor

from intaglio.explain.series.series_network import Series
from intaglio.explain.series.taught_series import SeriesLessons
from intaglio.randomness import generator

SHARES = tuple(k / 10 for k in range(11))
"""Shares of the points that are replaced."""
Answers = Callable[[Series], Float[Tensor, "n c"]]
"""Logits of series."""


def removal_curves(
    answers: Answers,
    lessons: SeriesLessons,
    values: Series,
    importances: Series,
    called: Int[Tensor, "m"],
    draws: int,
    seed: int,
) -> Float[ndarray, "m 11"]:
    """Probability of the called class while points are replaced, the most important first, a mean over draws."""
    count = importances[0].numel()
    order = importances.flatten(1).argsort(dim=1, descending=True, stable=True)
    place = torch.empty_like(order).scatter_(1, order, torch.arange(count).expand_as(order)).view_as(importances)
    found = np.zeros((len(values), len(SHARES)))
    for draw in range(draws):
        other = lessons.replacements(len(values), generator(seed, "replaced", draw))
        for k, share in enumerate(SHARES):
            changed = torch.where(place < round(share * count), other, values)
            chances = answers(changed).softmax(1).gather(1, called[:, None])[:, 0]
            found[:, k] += chances.double().numpy() / draws
    return found


def area(curves: Float[ndarray, "m 11"]) -> Float[ndarray, "m"]:
    """Area under each curve by trapezoids, over shares 0 to 1."""
    return np.trapezoid(curves, SHARES, axis=1)


@dataclass(frozen=True, eq=False)
class SwappedTimes:
    """Effects of swaps of a few times for those of another series."""

    effects: Float[ndarray, "m t"]
    """Fall of the called class's log-odds when times around t are those of the other."""
    flips: Bool[ndarray, "m t"]
    """Whether the called class changes."""

    def ranks(self, importances: Float[ndarray, "m t"]) -> Float[ndarray, "m"]:
        """Rank correlation of importance and effect over the times of each series; 0 where either is constant."""
        pairs = zip(importances, self.effects, strict=True)
        return np.array(
            [0.0 if np.ptp(a) == 0 or np.ptp(b) == 0 else float(cast(Any, spearmanr(a, b)).statistic) for a, b in pairs]
        )

    def told(self, importances: Float[ndarray, "m t"]) -> float | None:
        """Mean area under the ROC curve of times whose swap changes the call; None where no series has both."""
        both = self.flips.any(1) & ~self.flips.all(1)
        if not both.any():
            return None
        return float(np.mean([roc_auc_score(self.flips[k], importances[k]) for k in np.flatnonzero(both)]))


def swapped_times(
    answers: Answers, values: Series, called: Int[Tensor, "m"], partners: Int[Tensor, "m"], window: int
) -> SwappedTimes:
    """Swaps of `window` times around each one, cut off at the ends, for the partner's at the same times."""
    others, length = values[partners], values.shape[1]
    whole = answers(values)
    before, effects, flips = log_odds(whole, called), list[Tensor](), list[Tensor]()
    for t in range(length):
        first = t - (window - 1) // 2
        changed = values.clone()
        around = slice(max(0, first), min(length, first + window))
        changed[:, around] = others[:, around]
        said = answers(changed)
        effects.append(before - log_odds(said, called))
        flips.append(said.argmax(1) != called)
    return SwappedTimes(torch.stack(effects, 1).double().numpy(), torch.stack(flips, 1).numpy())


def partners_of(called: Int[Tensor, "m"], seed: int) -> Int[Tensor, "m"]:
    """For each series another one that is called another class, drawn."""
    drawn = torch.rand(len(called), len(called), generator=generator(seed, "partners"))
    return drawn.masked_fill(called[:, None] == called[None], -1.0).argmax(1)


def log_odds(logits: Float[Tensor, "n c"], classes: Int[Tensor, "n"]) -> Float[Tensor, "n"]:
    """Log-odds of one class a row against all others."""
    own = logits.gather(1, classes[:, None])[:, 0]
    return own - logits.scatter(1, classes[:, None], -torch.inf).logsumexp(1)
