"""averaging: one pair of counts, asked again and again and averaged."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from intaglio.audit.queries.asked_queries import AskedQueries, pairs
from intaglio.audit.queries.attack_accuracy import averaging_accuracy
from intaglio.audit.queries.family import QueryAttack
from intaglio.audit.queries.query_engine import Secret
from intaglio.errors import require


@dataclass(frozen=True, kw_only=True)
class Averaging(QueryAttack):
    """Averaging of a pair of counts asked again and again, which sticky noise defeats.

    Q counts the records that lack the secret value with all known attributes but one, Q' those of them with another
    value of that one; without noise Q - Q' is 1 if the record lacks the value, and 0 if it has it. Both are asked R
    times, and the mean of the differences is compared with 1/2. With noise of variance 2n + 2 a difference, fresh at
    each query,

        log odds = (1/2 - mean) R / (2n + 2)

    of having it. Sticky noise is the same each time, so that R times say no more than once: right with 0.596 for
    n = 5, in closed form. The first pair that is answered is taken.

    Source: the attack that noise by query is open to; Gadotti et al., arXiv 1804.06752, name it as what sticky noise is
    made against. The log odds are ours.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "how far the mean difference of counts is below one half"

    repeats: int = 20
    """Times R that the pair is asked, from 1; two queries each."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.repeats >= 1, f"repeats must be at least 1, not {self.repeats}")

    def log_odds(self, asked: AskedQueries, record: Mapping[str, str], secret: Secret) -> float:
        """By the mean of the answered differences of the first pair that is answered."""
        for pair in pairs(record, secret):
            found: list[float] = []
            for _ in range(self.repeats):
                if (y := asked.difference(pair)) is None:
                    break
                found.append(y)
            if found:
                return (len(found) / 2 - sum(found)) / (2 * len(record) + 2)
        return 0.0

    def most_queries(self, attributes: int) -> int:
        """Two for each repeat, and for each attribute whose pair might not be answered."""
        return 2 * (self.repeats + attributes - 1)

    def expected_accuracy(self, attributes: int, noise: Literal["rounded", "unrounded"] = "rounded") -> float:
        """That of one difference."""
        return averaging_accuracy(attributes, rounded=noise == "rounded")
