"""Trial of a plan while it is used: batches by the plan and patch by patch, by turns, until one is faster."""

from dataclasses import dataclass

from intaglio.flow.plan.decoder_plan import DecoderPlan

USUAL = 1.3
"""A first batch that takes up to so many times its measured time, or as much less, is usual; others begin a trial."""
LEFT = 3
"""Least number of full batches that are left, for a trial to be worth its sequential batch."""
CLEARLY = 1.1
"""Ratio of times beyond which one pair of batches decides against a plan."""
PAIRS = 3
"""Pairs of batches after which the larger sum of times decides."""


def trial_is_due(plan: DecoderPlan, seconds: float, left: int) -> bool:
    """Whether the time of a first batch says that the plan's times may not hold.

    Args:
        plan: measured, with the seconds of a batch.
        seconds: time of the first batch by it.
        left: full batches still to decode.
    """
    unusual = not plan.seconds / USUAL <= seconds <= USUAL * plan.seconds
    return plan.is_measured and not plan.is_sequential and unusual and left >= LEFT


@dataclass(frozen=True)
class Trial:
    """The times of full batches under trial; the first is by the plan, then one patch by patch, and so on by turns."""

    planned: tuple[float, ...] = ()
    """Seconds of batches by the plan; the first also makes copies and fills caches, and counts only in its favour."""
    sequential: tuple[float, ...] = ()
    """Seconds of batches patch by patch."""

    @property
    def next_is_planned(self) -> bool:
        """Whether the next batch is the plan's."""
        return len(self.planned) == len(self.sequential)

    def with_batch(self, seconds: float) -> "Trial":
        """The trial after one more batch, decoded as `next_is_planned` says."""
        if self.next_is_planned:
            return Trial((*self.planned, seconds), self.sequential)
        return Trial(self.planned, (*self.sequential, seconds))

    @property
    def gain(self) -> float | None:
        """Time patch by patch over time by the plan; None before there is a pair."""
        counted = self.planned[1:] or self.planned
        pairs = min(len(counted), len(self.sequential))
        return sum(self.sequential[:pairs]) / sum(counted[:pairs]) if pairs else None

    @property
    def passed(self) -> bool | None:
        """Whether the plan is faster now; None while that is open."""
        if (gain := self.gain) is None:
            return None
        if gain >= 1:
            return True
        if len(self.planned) > PAIRS or (len(self.planned) > 1 and gain < 1 / CLEARLY):
            return False
        return None
