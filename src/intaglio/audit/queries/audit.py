"""The whole audit of an engine: records that stand alone in a table, attacked one by one, their guesses judged."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain

import numpy as np

from intaglio.audit.queries.asked_queries import AskedQueries, seems_unique
from intaglio.audit.queries.family import Guess, QueryAttack
from intaglio.audit.queries.query_engine import EngineSettings, Secret
from intaglio.audit.queries.record_table import RecordTable, asked_value, check_attack
from intaglio.audit.queries.result import GuessedRecord, QueryGuesses
from intaglio.errors import BadInput
from intaglio.randomness import numpy_generator
from intaglio.runs.plain_json import digest
from intaglio.runs.run import Run

CHOICE = "choice"
"""Asker of the queries by which records are chosen."""


def attack_records(
    method: QueryAttack,
    table: RecordTable,
    secret: Secret,
    known: Sequence[str],
    *,
    engine: EngineSettings,
    records: int = 200,
    run: Run = Run.none(),
) -> QueryGuesses:
    """Guesses the secret of records, as many with the value as without, and compares with the truth.

    Attacked are records that are the only ones with their known values, in an order by the method's seed. An engine
    that suppresses is first asked, as an attacker would ask, whether the record seems to be the only one; it is passed
    over where not. To others, that are not the only ones, the same query is put, to tell how often it is mistaken.

    Args:
        method: with its settings.
        table: that the engine answers about; the attack sees no more of it than the known values of one record.
        secret: the column that is asked about, and the value.
        known: columns that the attacker knows, one or more.
        engine: settings of the engine; each record is attacked as by an asker of their own, with a whole budget.
        records: most records to attack, from 2; fewer where not so many stand alone.
        run: progress and records go there; a killed call goes on after the last record that was attacked.

    Raises:
        BadInput: for columns or a value that the table has not, for a known secret, for less than two records, and
            where nobody stands alone, or seems to.
    """
    if records < 2:
        raise BadInput(f"{records} records cannot be half with the secret and half without; attack 2 or more")
    asked_value(table, secret.column, secret.value)
    check_attack(table, secret.column, secret.value, known)
    chosen = _chosen(method, table, secret, known, engine, records)
    if not chosen.rows:
        raise BadInput(
            f"the engine counts each record that is the only one with its values in {', '.join(known)} as several, so "
            "that none seems to stand alone; name more known columns"
        )
    key = digest([method.name, asdict(method), engine.to_dict(), table.sha256, secret, known])
    recorded, guesses = run.recorded(method.name), []
    done = {row for row in chosen.rows if recorded.get(str(row), {}).get("key") == key}
    having = table.having(*secret)
    with run.progress(len(chosen.rows), method.name, len(done)) as progress:
        for row in chosen.rows:
            if row in done:
                guess = Guess(**recorded[str(row)]["guess"])
            else:
                guess = method(engine.open(table, f"row {row}"), table.record(row, known), secret)
                run.record(method.name, str(row), {"key": key, "guess": guess._asdict()})
                progress.advance()
            guesses.append(GuessedRecord.of(row, bool(having[row]), guess))
    return QueryGuesses(
        method=method.name,
        engine=engine.to_dict(),
        secret=secret,
        known=tuple(known),
        guesses=tuple(guesses),
        bound=engine.bound,
        expected=None if engine.sticky is None else method.expected_accuracy(len(known), engine.sticky),
        passed_over=chosen.passed_over,
        others_tested=chosen.tested,
        others_mistaken=chosen.mistaken,
    )


@dataclass(frozen=True)
class _Chosen:
    """Records to attack, and how the query for uniqueness fared."""

    rows: tuple[int, ...]
    passed_over: int
    tested: int
    mistaken: int


def _chosen(
    method: QueryAttack, table: RecordTable, secret: Secret, known: Sequence[str], engine: EngineSettings, records: int
) -> _Chosen:
    """Records with the value and without it in turns, until there are enough or one kind ends."""
    asked = AskedQueries(engine.open(table, CHOICE))
    alone, having = table.unique(known), table.having(*secret)
    order = numpy_generator(method.seed).permutation(len(table))
    passed: list[int] = []

    def standing(group: np.ndarray) -> Iterator[int]:
        for row in order[group[order]].tolist():
            if seems_unique(asked, table.record(row, known)) is not False:
                yield row
            else:
                passed.append(row)

    pairs = zip(standing(alone & having), standing(alone & ~having), strict=False)
    taken = tuple(chain.from_iterable(pair for pair, _ in zip(pairs, range(records // 2), strict=False)))
    others = order[~alone[order]][:records].tolist() if asked.engine.suppresses else []
    mistaken = [row for row in others if seems_unique(asked, table.record(row, known))]
    return _Chosen(taken, len(passed), len(others), len(mistaken))
