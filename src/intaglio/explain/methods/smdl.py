"""smdl: regions chosen greedily by the worth of what they show."""

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
class SMDL(RegionAttributor):
    """SMDL: regions chosen one by one so that what they show is worth most.

    F(S) = confidence (1 - H / log K) + effectiveness eff(S) + consistency p(S) + collaboration (1 - p(all but S)). Here
    p(S) is the class's probability when the regions S alone are shown, H the entropy of all K probabilities then, and
    eff(S) the sum over S of each region's least distance to another of S: the angle between their features, each shown
    alone, over pi. From the empty set, the region whose addition makes F largest is added until `chosen` are there. The
    map falls from 1 for the first by the absolute changes of F on the way, down to 0; regions that were not chosen have
    0. F is not submodular for a network in general, so that no bound on the greedy choice is claimed.

    Source: arXiv 2402.09164 (ICLR 2024), with the entropy of the network itself for its uncertainty, and white or the
    mean colour in place of black.
    """

    reading: ClassVar[str] = "its region was chosen early, as it adds most to what is shown"
    signed: ClassVar[bool] = False

    chosen: int = 24
    """Regions that are chosen, from 1; at most all."""
    confidence: float = 1.0
    """Weight of how sure the network is of any class, 0 or more."""
    effectiveness: float = 1.0
    """Weight of how unlike each other the chosen regions are, 0 or more."""
    consistency: float = 1.0
    """Weight of the class's probability when they alone are shown, 0 or more."""
    collaboration: float = 1.0
    """Weight of the class's improbability when they alone are hidden, 0 or more."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.chosen >= 1, f"chosen must be at least 1, not {self.chosen}")
        terms = ("confidence", "effectiveness", "consistency", "collaboration")
        for name in terms:
            value = getattr(self, name)
            require(0 <= value < float("inf"), f"{name} must be 0 or more, and finite, not {value}")
        require(any(getattr(self, name) for name in terms), f"one of {', '.join(terms)} must be above 0")

    def attributed(
        self, scored: ScoredNetwork, pixels: Float[Tensor, "3 h w"], target: int, content: str
    ) -> Attribution:
        """See the family."""
        revealed = self.revealed(scored, pixels, target)
        weights = ObjectiveWeights(self.confidence, self.effectiveness, self.consistency, self.collaboration)
        order, gains = greedy_order(RegionObjective(revealed, weights), self.chosen)
        found = painted(revealed.regions, ordered_values(order, gains, revealed.count))
        return Attribution(found, revealed.passes, revealed.regions, tuple(order))

    def passes(self, side: int) -> int:
        """A set and its complement for each candidate of each step, and each region alone."""
        steps = min(self.chosen, self.regions)
        return 2 * sum(self.regions - step for step in range(steps)) + self.regions + 2


def greedy_order(objective: RegionObjective, chosen: int) -> tuple[list[int], list[float]]:
    """Regions in the order of a greedy choice, the first of equals first, and the change of the worth by each."""
    count = objective.revealed.count
    keep, order, gains = torch.zeros(count, dtype=torch.bool), list[int](), list[float]()
    worth = float(objective.values(keep[None]))
    while len(order) < min(chosen, count):
        left = [region for region in range(count) if not keep[region]]
        values = objective.values(with_each(keep, left))
        best = int(values.argmax())
        keep[left[best]] = True
        order.append(left[best])
        gains.append(float(values[best]) - worth)
        worth = float(values[best])
    return order, gains
