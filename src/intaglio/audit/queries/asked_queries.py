"""The attacker's side of counting queries: asked one by one, counted, and in pairs that differ by one record."""

from collections.abc import Iterator, Mapping, Sequence

from intaglio.audit.queries.query_engine import Condition, QueryEngine, Secret
from intaglio.runs.progress import Progress


class AskedQueries:
    """Queries to an engine, counted with those that were not answered."""

    def __init__(self, engine: QueryEngine, progress: Progress | None = None):
        """`engine`: that answers; `progress`: advanced by each query."""
        self.engine, self.progress = engine, progress
        self.queries = self.suppressed = self.refused = 0

    def __call__(self, conditions: Sequence[Condition]) -> float | None:
        """The answer to one query; None where there was none."""
        answer = self.engine.count(conditions)
        self.queries += 1
        self.suppressed += answer.why == "suppressed"
        self.refused += answer.why == "refused"
        if self.progress is not None:
            self.progress.advance()
        return answer.value

    def difference(self, pair: "QueryPair", further: Sequence[Condition] = ()) -> float | None:
        """Q - Q' of a pair, with further conditions on both; None where one was not answered, Q' unasked without Q."""
        first = self([*pair.with_record, *further])
        second = None if first is None else self([*pair.without_record, *further])
        return None if first is None or second is None else first - second


class QueryPair:
    """Queries Q and Q' about the records that lack a secret value and share all known attributes but one, j.

    Q = A without A_j, s != v; Q' = the same, and A_j != x_j. A record that is the only one with A is counted by Q
    alone, if it lacks the value v, and by neither, if it has it: then both queries count the same records.
    """

    def __init__(self, record: Mapping[str, str], left_out: str, secret: Secret):
        """`record`: known values by column; `left_out`: the column j; `secret`: its column and the value v."""
        self.left_out = left_out
        known = [Condition(name, "=", value) for name, value in record.items() if name != left_out]
        self.with_record = (*known, secret.lacked)
        self.without_record = (*self.with_record, Condition(left_out, "!=", record[left_out]))


def pairs(record: Mapping[str, str], secret: Secret) -> Iterator[QueryPair]:
    """A pair for each known attribute, in their order."""
    return (QueryPair(record, name, secret) for name in record)


def dummy(column: str, number: int) -> Condition:
    """A condition that every record meets; each number gives another text."""
    return Condition(column, "!=", f"no such value {number}")


def seems_unique(asked: AskedQueries, record: Mapping[str, str]) -> bool | None:
    """Whether a record seems to be the only one with its known values, by one query: it does where that is suppressed.

    A suppressed count may also be one of a few records, so this can err to one side. None, and no query, for an engine
    that suppresses nothing.
    """
    if not asked.engine.suppresses:
        return None
    return asked([Condition(name, "=", value) for name, value in record.items()]) is None
