"""`StepEstimate`: the expected cost of one step, with its interval and its coverage by measurements."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class StepEstimate:
    """The cost of one step, with how sure it is and how much of it rests on measured layers."""

    amount: float
    """Expected cost, in `unit`."""
    sd: float
    """Its standard deviation; infinite where the method has none."""
    seconds: float
    """Expected time, in s; nan where the method has none."""
    unit: str
    provenance: str
    """How the amounts of the profile came about."""
    coverage: float = 1.0
    """Share of the amount from layers within what was measured."""
    parts: Mapping[str, float] = field(default_factory=dict)
    """Amount of each family, before the correction of the sum."""
    correction: float = 1.0
    """Factor of the sum, from whole networks that were measured."""
    warnings: tuple[str, ...] = ()

    @property
    def interval(self) -> tuple[float, float]:
        """Bounds that hold the cost with 95%, log-normal: amount · exp(± 1.96 √log(1 + (sd / amount)²))."""
        if not self.amount > 0 or not np.isfinite(self.sd):
            return 0.0, float("inf")
        factor = float(np.exp(1.96 * np.sqrt(np.log1p((self.sd / self.amount) ** 2))))
        return self.amount / factor, self.amount * factor
