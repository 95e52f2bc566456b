"""`CallBudget`: what a call of the denoiser may cost, as a share of what it costs now or as an amount with its unit."""

import math
from dataclasses import dataclass

from intaglio.energy.conversions import AMOUNT, parse_joules
from intaglio.energy.step_estimate import StepEstimate
from intaglio.errors import BadInput
from intaglio.meters.domain import Unit


@dataclass(frozen=True)
class CallBudget:
    """A budget of one call: a share, or an amount in a unit."""

    value: float
    """A share in (0, 1), or an amount above 0."""
    unit: str = ""
    """`J` or `CPU-s`; empty for a share."""

    @classmethod
    def parse(cls, text: str) -> "CallBudget":
        """The budget of a text such as `50%`, `0.3 J` or `0.8 CPU-s`.

        Raises `BadInput` for what is none of these, or not above 0, or a share of 100% and more.
        """
        found = AMOUNT.fullmatch(text)
        if found is None or not found[2]:
            raise BadInput(f"the budget {text!r} has no unit; give a share such as 70%, or an amount such as 0.3 J")
        number, unit = float(found[1]), found[2]
        if unit == "%":
            if not 0 < number < 100:
                raise BadInput(f"the budget {text!r} must be above 0% and below 100% of what a call costs now")
            return cls(number / 100)
        if unit == Unit.CPU_SECONDS:
            if not 0 < number < math.inf:
                raise BadInput(f"the budget {text!r} must be above 0 and finite; give an amount such as 0.8 CPU-s")
            return cls(number, str(unit))
        return cls(parse_joules(text), Unit.JOULES)

    def limit(self, before: StepEstimate) -> float:
        """The most that the upper bound of a call's estimate may be, in its unit.

        A share is of the upper bound of the present call: what the scales of meter and profile are off by is the same
        in both. Raises `BadInput` for an amount in another unit than the estimate's, and where nothing need be pruned.
        """
        if not self.unit:
            return self.value * before.interval[1]
        self.check_unit(before.unit)
        if before.interval[1] <= self.value:
            raise BadInput(
                f"a call takes {before.amount:.3g} {before.unit} now, at most {before.interval[1]:.3g} with 95%, which "
                f"is within the budget of {self.value:.3g} {self.unit}; give a smaller one, or a share such as 70%"
            )
        return self.value

    def holds(self, after: StepEstimate, before: StepEstimate) -> bool:
        """Whether a call is within the budget: its upper bound, and of a share also the expected cost."""
        if not self.unit and after.amount > self.value * before.amount:
            return False
        return after.interval[1] <= self.limit(before)

    def check_unit(self, unit: str) -> None:
        """Raises `BadInput` for an amount in another unit than a profile counts."""
        if self.unit and self.unit != unit:
            other = "0.8 CPU-s" if unit == Unit.CPU_SECONDS else "0.3 J"
            raise BadInput(
                f"the budget is in {self.unit}, and the profile counts {unit}; give a share such as 70%, or an amount "
                f"such as {other}"
            )
