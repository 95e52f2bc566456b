"""Laplace noise with a budget: differentially private answers, which end when the budget is spent."""

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from intaglio.audit.queries.attack_accuracy import budget_bound
from intaglio.audit.queries.query_engine import Answer, Condition, EngineSettings
from intaglio.audit.queries.record_table import RecordTable
from intaglio.errors import require
from intaglio.randomness import numpy_generator, seed_32bit

ROUNDING = 1e-9
"""Budget that a sum of epsilons may lack by rounding."""


@dataclass(frozen=True)
class LaplaceNoise(EngineSettings):
    """Laplace mechanism: each answer has fresh noise of scale 1 / epsilon and costs epsilon of a budget.

    A count changes by 1 at most where one record does, so an answer is epsilon-differentially private; a number of
    answers costs the sum of their epsilons (plain composition), and is refused where the budget would not hold it. One
    value of one record, guessed at even prior odds after a budget of B, is right with a probability of at most
    e^B / (1 + e^B), whatever the attack. Each asker has a whole budget, as if all were strangers to each other: the
    attacker's best case.

    Source: Dwork, McSherry, Nissim, Smith, "Calibrating Noise to Sensitivity in Private Data Analysis", TCC 2006.
    Noise is drawn in double precision and its low bits are not hidden, so this engine is for measuring attacks, not
    for release.
    """

    name: ClassVar[str] = "laplace"

    epsilon: float = 0.1
    """Privacy loss of an answer, above 0; the noise has a scale of 1 / epsilon records."""
    budget: float = 1.0
    """Privacy loss of all answers to one asker, from epsilon; inf answers for ever."""

    def __post_init__(self) -> None:
        require(0 < self.epsilon < math.inf, f"epsilon must be above 0, and finite, not {self.epsilon}")
        require(self.budget >= self.epsilon, f"budget must be at least epsilon, {self.epsilon:g}, not {self.budget}")

    @property
    def bound(self) -> float | None:
        """e^B / (1 + e^B) for the budget B; None for one without end."""
        return None if math.isinf(self.budget) else budget_bound(self.budget)

    def open(self, table: RecordTable, asker: str = "") -> "LaplaceEngine":
        """The engine over a table, with a whole budget for this asker, whose name decides on the noise."""
        return LaplaceEngine(self, table, asker)

    def to_dict(self) -> dict[str, Any]:
        """Name and settings as plain values; a budget without end is None."""
        budget = None if math.isinf(self.budget) else self.budget
        return {**super().to_dict(), "budget": budget}


class LaplaceEngine:
    """Answers with Laplace noise about one table, to one asker."""

    suppresses = False

    def __init__(self, settings: LaplaceNoise, table: RecordTable, asker: str):
        """`settings`: of noise and budget; `table`: whose rows are the records; `asker`: whose budget this is."""
        self.settings, self.table, self.given = settings, table, 0
        self._random = numpy_generator(seed_32bit(0, settings.salt, asker))

    def count(self, conditions: Collection[Condition]) -> Answer:
        """The count with fresh noise, or none once the budget is spent."""
        met = np.ones(len(self.table), bool)
        for one in conditions:
            having = self.table.having(one.column, one.value)
            met &= having if one.sign == "=" else ~having
        if (self.given + 1) * self.settings.epsilon > self.settings.budget + ROUNDING:
            return Answer(None, "refused")
        self.given += 1
        return Answer(int(met.sum()) + float(self._random.laplace(scale=1 / self.settings.epsilon)))
