"""Synthetic tables of the attacker's best case: records that stand alone, each in groups that are large enough."""

from intaglio.audit.queries.query_engine import Secret
from intaglio.audit.queries.record_table import RecordTable
from intaglio.randomness import numpy_generator

ALIKE = 24
"""Records beside each of those that stand alone, for each attribute that they differ in."""
SECRET = Secret("secret", "1")
OTHER = "other"


def attribute_names(attributes: int) -> tuple[str, ...]:
    """The names of the known columns: a1, a2 and so on."""
    return tuple(f"a{k}" for k in range(1, attributes + 1))


def synthetic_records(alone: int, attributes: int = 5, *, seed: int = 0) -> RecordTable:
    """A table in which `alone` records are unique on `attributes` columns, in turns with the secret 1 and 0.

    Beside each there are `ALIKE` records for each attribute, which have the same values but in that one. So the record
    cannot be counted alone, and with one condition less it is among `ALIKE` others, of whom about half have the secret:
    no query of the attacks is suppressed but rarely. Rows are in random order; the secrets of the others are fair
    coins.

    Args:
        alone: records that stand alone, from 2.
        attributes: known columns, from 1.
        seed: of the order and the coins, from 0.
    """
    names, columns = attribute_names(attributes), []
    random = numpy_generator(seed, alone, attributes)
    for k in range(alone):
        own = [f"{name} {k}" for name in names]
        columns.append([*own, str((k + 1) % 2)])
        for place in range(attributes):
            coins = random.integers(0, 2, ALIKE).tolist()
            others = [*own[:place], OTHER, *own[place + 1 :]]
            columns += [[*others, str(coin)] for coin in coins]
    order = random.permutation(len(columns)).tolist()
    rows = [columns[place] for place in order]
    return RecordTable.of(dict(zip((*names, SECRET.column), map(list, zip(*rows, strict=True)), strict=True)))
