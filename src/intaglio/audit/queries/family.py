"""Attacks on engines that answer counting queries: the contract of a method, and the guess that it gives."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

from intaglio.audit.queries.asked_queries import AskedQueries
from intaglio.audit.queries.query_engine import QueryEngine, Secret
from intaglio.errors import BadInput, require
from intaglio.randomness import generator
from intaglio.runs.run import Run
from intaglio.verbs import FileName

RULED_OUT = 30.0
"""Log odds in place of infinity, where a method's model of the noise rules a value out."""


class Guess(NamedTuple):
    """A guess of one record's secret."""

    value: bool
    """Whether the record is taken to have the asked value; a fair coin where no answer told anything."""
    log_odds: float
    """Natural logarithm of the odds that it has it, at even prior odds, by the method's model; 0 tells nothing."""
    queries: int
    """Queries that were asked."""
    suppressed: int = 0
    """Queries that were not answered since they counted too few records."""
    refused: int = 0
    """Queries that were not answered since the budget was spent."""

    @property
    def informed(self) -> bool:
        """Whether the guess rests on answers."""
        return self.log_odds != 0


@dataclass(frozen=True, kw_only=True)
class QueryAttack(ABC):
    """An attack by counting queries: guesses whether one record has a secret value, from noisy answers alone.

    The attacker knows some attributes of the record, and that no other record has the same; not the table.
    """

    name = FileName()
    """The method's name, which is that of its file."""
    role: ClassVar[Literal["method", "baseline"]] = "method"
    """`baseline`: a method of the literature that others are measured against."""
    reading: ClassVar[str]
    """The log odds in words, as the end of a sentence for people who know no formula."""

    seed: int = 0
    """Seed of the coin that is thrown where no answer told anything, and of the choice of records. From 0."""

    def __post_init__(self) -> None:
        require(0 <= self.seed < 2**62, f"seed must be 0 to 2**62 - 1, not {self.seed}")

    def __call__(
        self, engine: QueryEngine, record: Mapping[str, str], secret: Secret, *, run: Run = Run.none()
    ) -> Guess:
        """Guesses the secret of one record.

        Args:
            engine: that answers; a Laplace engine's budget is spent by it.
            record: the known attributes, one or more: values by column.
            secret: the column that is asked about, and the value.
            run: progress goes there, by queries; a guess takes milliseconds, and nothing of it is kept.

        Raises:
            BadInput: for no known attributes, and for a secret among them.
        """
        check_record(record, secret)
        with run.progress(self.most_queries(len(record)), self.name) as progress:
            asked = AskedQueries(engine, progress)
            log_odds = self.log_odds(asked, record, secret)
        value = log_odds > 0 if log_odds else self._coin(record, secret)
        return Guess(value, log_odds, asked.queries, asked.suppressed, asked.refused)

    @abstractmethod
    def log_odds(self, asked: AskedQueries, record: Mapping[str, str], secret: Secret) -> float:
        """The log odds that the record has the secret value; 0 where no answer told anything."""

    @abstractmethod
    def most_queries(self, attributes: int) -> int:
        """The most queries that a record with so many known attributes takes."""

    @abstractmethod
    def expected_accuracy(self, attributes: int, noise: Literal["rounded", "unrounded"] = "rounded") -> float:
        """The accuracy in closed form on sticky noise where every query is answered, and the secret even."""

    def _coin(self, record: Mapping[str, str], secret: Secret) -> bool:
        random = generator(self.seed, "coin", *secret, *sorted(record.items()))
        return bool(random.initial_seed() & 1)


def check_record(record: Mapping[str, str], secret: Secret) -> None:
    """Raises `BadInput` for a record of which nothing is known, or whose secret is."""
    if not record:
        raise BadInput("nothing is known of the record; give the value of one attribute or more")
    if secret.column in record:
        raise BadInput(f"{secret.column} is the secret, and is known of the record; leave it out of one of the two")
