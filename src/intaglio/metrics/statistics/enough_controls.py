"""Controls that a false-positive rate needs: below them no p-value is as small as the rate, and nothing is called."""

import math

from intaglio.errors import BadInput

ROUNDING = 1 + 1e-12
"""What a product of a rate and a count may lack by rounding, as in `conformal.threshold`."""


def fewest_controls(rate: float) -> int:
    """The fewest controls n for which the smallest p-value, 1 / (n + 1), is at most a rate in (0, 1)."""
    return max(1, math.ceil(1 / (rate * ROUNDING)) - 1)


def check_controls(count: int, rate: float, what: str = "pictures") -> None:
    """Raises `BadInput` where so many controls, pictures or else, cannot show the rate, with the rate that they can."""
    if count >= (needed := fewest_controls(rate)):
        return
    reached = f", or ask for --fpr {_rounded_up(1 / (count + 1)):g}" if count else ""
    controls = "control" if count == 1 else "controls"
    raise BadInput(
        f"{count} different {controls} cannot show a false-positive rate of {rate:g}, for which {needed} are needed: "
        f"nothing would be called; give more {what} by --controls{reached}"
    )


def _rounded_up(rate: float) -> float:
    """To three decimals, upwards."""
    return math.ceil(rate * 1000) / 1000
