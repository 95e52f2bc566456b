"""Controls that a false-positive rate needs: below them no p-value is as small as the rate, and nothing is called."""

import math
from typing import Literal

from intaglio.errors import BadInput

ROUNDING = 1 + 1e-12
"""What a product of a rate and a count may lack by rounding, as in `conformal.threshold`."""
Sides = Literal["upper", "both"]
"""The scores that speak against chance: those above the controls', or those to both sides of them."""


def tails(sides: Sides) -> int:
    """The number of tails that a test has, 1 or 2; no p-value over n controls is below tails / (n + 1)."""
    return 2 if sides == "both" else 1


def fewest_controls(rate: float, sides: Sides = "upper") -> int:
    """The fewest controls n for which the smallest p-value, tails / (n + 1), is at most a rate in (0, 1)."""
    return max(1, math.ceil(tails(sides) / (rate * ROUNDING)) - 1)


def check_controls(count: int, rate: float, what: str = "pictures", sides: Sides = "upper") -> None:
    """Raises `BadInput` where so many controls, pictures or else, cannot show the rate, with the rate that they can."""
    if count >= (needed := fewest_controls(rate, sides)):
        return
    reached = f", or ask for --fpr {_rounded_up(smallest):g}" if (smallest := tails(sides) / (count + 1)) < 1 else ""
    controls = "control" if count == 1 else "controls"
    twice = " where scores to both sides count" if sides == "both" else ""
    raise BadInput(
        f"{count} different {controls} cannot show a false-positive rate of {rate:g}, for which {needed} are "
        f"needed{twice}: nothing would be called; give more {what} by --controls{reached}"
    )


def _rounded_up(rate: float) -> float:
    """To three decimals, upwards."""
    return math.ceil(rate * 1000) / 1000
