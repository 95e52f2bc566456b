"""`PrivacyBudget`: the privacy that a training may spend, and the noise of its steps that keeps within it."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from intaglio.errors import BadInput, require
from intaglio.metrics.privacy import HIGHEST_EPSILON, NoisySteps, PrivacyReport, sigma_for

FULL_BELOW = 200
"""Pictures up to which each step takes all of them, unless told otherwise."""
SHARE = 10
"""Delta is at most 1 over so many times the number of pictures: at 1 / number one of them could be published."""


@dataclass(frozen=True, kw_only=True)
class PrivacyBudget:
    """Epsilon and delta of all tries together, and how they are accounted."""

    epsilon: float
    """In (0, 100]."""
    delta: float | None = None
    """In (0, 1); None takes 1 / (10 N) of N pictures."""
    tries: int = 1
    """Trainings on the same pictures from which one is chosen, from 1."""
    accountant: Literal["pld", "rdp"] = "pld"

    def __post_init__(self) -> None:
        require(
            0 < self.epsilon <= HIGHEST_EPSILON,
            f"epsilon must be above 0 and at most {HIGHEST_EPSILON:g}, not {self.epsilon}",
        )
        require(self.delta is None or 0 < self.delta < 1, f"delta must lie between 0 and 1, not {self.delta}")
        require(self.tries >= 1, f"tries must be at least 1, not {self.tries}")
        require(self.accountant in ("pld", "rdp"), f"accountant must be pld or rdp, not {self.accountant!r}")

    def delta_of(self, records: int) -> float:
        """The delta for so many pictures. Raises `BadInput` for one that would let a picture be published."""
        highest = 1 / (SHARE * records)
        if self.delta is not None and self.delta > highest:
            raise BadInput(
                f"delta {self.delta:g} is above {highest:g}, a tenth of one picture in {records}: pictures could be "
                "published within it; give a smaller --delta, or leave it out"
            )
        return highest if self.delta is None else self.delta

    def noisy_steps(self, records: int, batch: int, steps: int) -> NoisySteps:
        """Rate, noise and number of the steps of one try, whose share of epsilon and delta is one of `tries`.

        Args:
            records: pictures, from 1.
            batch: pictures of a step on average; as many as there are, or more, takes all of them in every step.
            steps: from 1.

        Raises `BadInput` where dp-accounting is needed and missing, and for a delta as `delta_of` does.
        """
        rate = min(1.0, batch / records)
        delta = self.delta_of(records)
        sigma = _noise(self.epsilon / self.tries, delta / self.tries, rate, steps, self.accountant)
        return NoisySteps(rate=rate, sigma=sigma, steps=steps)

    def report(self, records: int, batch: int, steps: int) -> PrivacyReport:
        """The accounted privacy of all tries. Raises as `noisy_steps` does."""
        made = self.noisy_steps(records, batch, steps)
        delta = self.delta_of(records)
        return PrivacyReport.of(made, delta=delta, records=records, tries=self.tries, accountant=self.accountant)


@lru_cache(64)
def _noise(epsilon: float, delta: float, rate: float, steps: int, accountant: Literal["pld", "rdp"]) -> float:
    """The least noise for a wanted epsilon, found once a process."""
    return sigma_for(epsilon, delta, rate=rate, steps=steps, accountant=accountant)
