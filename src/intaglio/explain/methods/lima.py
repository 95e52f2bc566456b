"""lima: regions ordered from both ends, by the worth of what they show and of what they leave."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.errors import require
from intaglio.explain.family import Attribution
from intaglio.explain.region_objective import ObjectiveWeights, RegionObjective, ordered_values, with_each
from intaglio.explain.region_settings import RegionAttributor
from intaglio.explain.regions import painted
from intaglio.models.scored_network import ScoredNetwork


@dataclass(frozen=True, kw_only=True)
class LiMA(RegionAttributor):
    """LiMA: all regions in an order, found from both ends at once.

    F(S) = effectiveness eff(S) + consistency p(S) + collaboration (1 - p(all but S)), where p(S) is the class's
    probability when the regions S alone are shown, and eff(S) the sum over S of each region's least distance to another
    of S: the angle between their features, each shown alone, over pi. Two sets grow in turn. The region that makes F of
    the first set largest joins it. Of the others the `pending` ones with the lowest of these numbers, with eff of the
    second set in place of the first, are tried in the second set, and the one that makes its F lowest joins that. The
    last regions, at most `pending`, join the first set one by one. The order is the first set, then the second
    backwards, in some two thirds of the sets that would be asked from one end alone. The map falls from 1 by the
    absolute changes of consistency and collaboration along the order, down to 0.

    Source: arXiv 2504.00470, with the weights that it has for classifiers without text, no term for confidence, and
    white or the mean colour in place of black.
    """

    reading: ClassVar[str] = "its region stands early in the order of what matters"
    signed: ClassVar[bool] = False

    pending: int = 8
    """Regions that are asked exactly for the second set, from 1: more find it better, in more passes."""
    effectiveness: float = 0.05
    """Weight of how unlike each other the regions of a set are, 0 or more."""
    consistency: float = 20.0
    """Weight of the class's probability when they alone are shown, 0 or more."""
    collaboration: float = 5.0
    """Weight of the class's improbability when they alone are hidden, 0 or more."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.pending >= 1, f"pending must be at least 1, not {self.pending}")
        terms = ("effectiveness", "consistency", "collaboration")
        for name in terms:
            value = getattr(self, name)
            require(0 <= value < float("inf"), f"{name} must be 0 or more, and finite, not {value}")
        require(self.consistency + self.collaboration > 0, "consistency or collaboration must be above 0")

    def attributed(
        self, scored: ScoredNetwork, pixels: Float[Tensor, "3 h w"], target: int, content: str
    ) -> Attribution:
        """See the family."""
        revealed = self.revealed(scored, pixels, target)
        weights = ObjectiveWeights(
            confidence=0.0,
            effectiveness=self.effectiveness,
            consistency=self.consistency,
            collaboration=self.collaboration,
        )
        objective = RegionObjective(revealed, weights)
        order = two_ended_order(objective, self.pending)
        first = torch.ones(len(order) + 1, len(order), dtype=torch.bool).tril(-1)  # row k: the first k of the order
        keep = torch.zeros_like(first)
        keep[:, order] = first
        # Nearly all of these sets were asked on the way, from one end or the other.
        worth = self.consistency * objective.probability(keep) - self.collaboration * objective.probability(~keep)
        found = painted(revealed.regions, ordered_values(order, worth.diff().tolist(), revealed.count))
        return Attribution(found, revealed.passes, revealed.regions, tuple(order))

    def passes(self, side: int) -> int:
        """A set and its complement for each candidate, and each region alone."""
        return 2 * two_ended_sets(self.regions, self.pending) + self.regions + 2


def two_ended_order(objective: RegionObjective, pending: int) -> list[int]:
    """All regions, the most important first; of equals the first in number goes to the front, the next to the back."""
    count = objective.revealed.count
    first, second = torch.zeros(2, count, dtype=torch.bool)
    front, back, left = list[int](), list[int](), list(range(count))
    while left:
        values = objective.values(with_each(first, left))
        best = left[int(values.argmax())]
        if len(left) > pending:
            likely = _likely_lowest(objective, first, second, left, values)
            asked = [region for region in likely if region != best][:pending]
            least = asked[int(objective.values(with_each(second, asked)).argmin())]
            second[least] = True
            back.append(least)
            left.remove(least)
        first[best] = True
        front.append(best)
        left.remove(best)
    return front + back[::-1]


def _likely_lowest(
    objective: RegionObjective, first: Tensor, second: Tensor, left: list[int], values: Float[Tensor, "m"]
) -> list[int]:
    """Candidates by their values for the first set, with the variety of the second in place; the lowest first."""
    if weight := objective.weights.effectiveness:
        ours, theirs = (objective.effectiveness(with_each(one, left)) for one in (first, second))
        values = values + weight * (theirs - ours)
    return [left[int(place)] for place in values.argsort(stable=True)]


def two_ended_sets(regions: int, pending: int) -> int:
    """Sets whose worth is asked, at most: 834 of 50 regions with 8 pending, where one end alone asks 1,275."""
    asked, left = 0, regions
    while left > pending:
        asked += left + pending
        left -= 2
    return asked + left * (left + 1) // 2
