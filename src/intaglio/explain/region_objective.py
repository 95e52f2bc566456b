"""The worth of a set of regions: what it shows is certain, varied, enough for the class, and all there is of it."""

from dataclasses import dataclass
from functools import cached_property
from math import log

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from intaglio.explain.revealed_scores import RevealedScores

NO_CHANGE = 1e-6
"""Sum of the changes of a worth below which no region has a value."""


@dataclass(frozen=True)
class ObjectiveWeights:
    """Weights of the four terms, 0 or more."""

    confidence: float
    effectiveness: float
    consistency: float
    collaboration: float


@dataclass(frozen=True, eq=False)
class RegionObjective:
    """F(S) of sets S of the regions V of a picture, p the probability of the explained class.

    F(S) = w1 conf(S) + w2 eff(S) + w3 p(x_S) + w4 (1 - p(x_{V without S})): conf is 1 - H / log K, H the entropy of
    the K probabilities of x_S; eff(S) is the sum over i in S of the least distance to another of S, the arccos of the
    cosine of the features of both shown alone, over pi: it is 0 for a single region. F is not submodular for a network
    in general, so that no greedy choice comes with a bound.
    """

    revealed: RevealedScores
    weights: ObjectiveWeights

    @cached_property
    def distances(self) -> Float[Tensor, "r r"]:
        """Angles between features of regions shown alone, over pi; infinite on the diagonal."""
        features = torch.nn.functional.normalize(self.revealed.alone().double(), dim=1)
        found = (features @ features.T).clamp(-1, 1).arccos() / torch.pi
        return found.fill_diagonal_(torch.inf)

    def effectiveness(self, keep: Bool[Tensor, "m r"]) -> Float[Tensor, "m"]:
        """Eff of each set."""
        pairs = torch.where(keep[:, :, None] & keep[:, None, :], self.distances, torch.inf)
        least = pairs.min(2).values
        return torch.where(least.isfinite(), least, 0.0).sum(1)

    def probability(self, keep: Bool[Tensor, "m r"]) -> Float[Tensor, "m"]:
        """P of each set."""
        return self.revealed.probabilities(keep)[:, self.revealed.target].double()

    def values(self, keep: Bool[Tensor, "m r"]) -> Float[Tensor, "m"]:
        """F of each set; terms of weight 0 are not computed."""
        weights, found = self.weights, torch.zeros(len(keep), dtype=torch.float64)
        if weights.confidence:
            shares = self.revealed.probabilities(keep).double()
            entropy = -torch.special.xlogy(shares, shares).sum(1)
            found += weights.confidence * (1 - entropy / log(shares.shape[1]))
        if weights.effectiveness:
            found += weights.effectiveness * self.effectiveness(keep)
        if weights.consistency:
            found += weights.consistency * self.probability(keep)
        if weights.collaboration:
            found += weights.collaboration * (1 - self.probability(~keep))
        return found


def with_each(chosen: Bool[Tensor, "r"], candidates: list[int]) -> Bool[Tensor, "m r"]:
    """The set with one of the candidates more, a row each."""
    keep = chosen.expand(len(candidates), -1).clone()
    keep[range(len(candidates)), candidates] = True
    return keep


def ordered_values(order: list[int], gains: list[float], count: int) -> Float[Tensor, "r"]:
    """Values of regions from 1 for the first of an order down to 0, by what each step changed the worth; others have 0.

    Where nothing changes it, all have 0.

    Args:
        order: regions.
        gains: change of the worth by each, of any sign.
        count: all regions.
    """
    steps = torch.tensor(gains, dtype=torch.float64).abs()
    if float(steps.sum()) < NO_CHANGE:
        return torch.zeros(count)
    passed = torch.cat([torch.zeros(1, dtype=torch.float64), steps[1:].cumsum(0)])
    values = torch.zeros(count)
    values[order] = (1 - passed / passed[-1].clamp(min=1e-12)).float() if len(order) > 1 else torch.ones(len(order))
    return values
