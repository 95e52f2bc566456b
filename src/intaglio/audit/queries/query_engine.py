"""Counting queries about a table, and the contract of an engine that answers them with noise."""

import json
from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, runtime_checkable

from intaglio.audit.queries.record_table import RecordTable


@dataclass(frozen=True, order=True)
class Condition:
    """A condition on one column of a record."""

    column: str
    sign: Literal["=", "!="]
    value: str

    @property
    def text(self) -> str:
        """The condition as one text, which no other condition has."""
        return json.dumps([self.column, self.sign, self.value])


class Secret(NamedTuple):
    """A secret attribute, and the value that a record may have there."""

    column: str
    value: str

    @property
    def lacked(self) -> Condition:
        """The condition that a record has another value."""
        return Condition(self.column, "!=", self.value)


class Answer(NamedTuple):
    """An engine's answer to one query."""

    value: float | None
    """The noisy count; None where none was given."""
    why: Literal["", "suppressed", "refused"] = ""
    """Why none was given: too few records were counted, or the budget is spent."""


@runtime_checkable
class QueryEngine(Protocol):
    """An engine that has been opened over a table; it alone sees the records."""

    @property
    def suppresses(self) -> bool:
        """Whether counts of few records are withheld, so that a withheld answer tells that they are few."""
        ...

    def count(self, conditions: Collection[Condition]) -> Answer:
        """The noisy number of records that meet all conditions.

        The order of conditions, and a condition that stands there twice, change nothing.
        """
        ...


@dataclass(frozen=True)
class EngineSettings(ABC):
    """Settings of an engine."""

    name: ClassVar[str]
    """The engine's name."""

    salt: str = "0"
    """Secret of the engine, any text: another salt is another draw of all noise."""

    @property
    def bound(self) -> float | None:
        """The largest accuracy that any attack can have on a record with even prior odds; None where none is known."""
        return None

    @property
    def sticky(self) -> Literal["rounded", "unrounded"] | None:
        """The kind of sticky noise, for which attacks have closed forms; None for other noise."""
        return None

    @abstractmethod
    def open(self, table: RecordTable, asker: str = "") -> QueryEngine:
        """The engine over a table, for one asker with a whole budget of their own."""

    def to_dict(self) -> dict[str, Any]:
        """Name and settings as plain values."""
        return {"name": self.name, **asdict(self)}
