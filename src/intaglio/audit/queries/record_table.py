"""Tables of records whose values are texts, as counting queries see them; read from CSV."""

import csv
import hashlib
import io
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int
from numpy import ndarray

from intaglio.data_files import read_text
from intaglio.errors import BadInput


@dataclass(frozen=True, eq=False)
class RecordTable:
    """Columns of texts, a record a row. Every value is a text: 1 and 1.0 are two values, an empty cell is one."""

    codes: Mapping[str, Int[ndarray, "n"]]
    """By column, each record's place in `levels`."""
    levels: Mapping[str, tuple[str, ...]]
    """By column, its different values, sorted."""

    @classmethod
    def of(cls, columns: Mapping[str, Iterable[str]]) -> "RecordTable":
        """The table of columns of equal length."""
        codes, levels = {}, {}
        for name, cells in columns.items():
            found, values = pd.factorize(np.array([str(cell) for cell in cells], dtype=object), sort=True)
            codes[name], levels[name] = found, tuple(map(str, values))
        return cls(codes, levels)

    @classmethod
    def read(cls, path: Path) -> "RecordTable":
        """The table of a CSV file in UTF-8, with commas and a line of names; blanks around cells are dropped.

        Raises `BadInput` for a file that cannot be read, without records, with lines of different lengths, or with
        columns of one name or none.
        """
        try:
            lines = csv.reader(io.StringIO(read_text(Path(path)), newline=""), strict=True, skipinitialspace=True)
            names = [name.strip() for name in next(lines, [])]
            _check_names(path, names)
            rows = []
            for line in lines:
                if len(line) != len(names) and line:
                    raise BadInput(
                        f"line {lines.line_num} of {path} has another number of fields ({len(line)}) than the line of "
                        f"names ({len(names)}); separate fields by commas, and put texts that hold one into quotes"
                    )
                rows += [[cell.strip() for cell in line]] if line else []
        except csv.Error as error:
            raise BadInput(f"{path} cannot be read as a table ({error}); give a CSV file") from error
        if not rows:
            raise BadInput(f"{path} has no records under its line of names; give a table with records")
        return cls.of(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))

    def __len__(self) -> int:
        return len(next(iter(self.codes.values())))

    @property
    def names(self) -> tuple[str, ...]:
        """The columns, in their order."""
        return tuple(self.codes)

    @property
    def sha256(self) -> str:
        """SHA-256 of names and cells, 64 hexadecimal digits."""
        found = hashlib.sha256(repr([(name, self.levels[name]) for name in self.names]).encode(errors="surrogatepass"))
        for name in self.names:
            found.update(np.ascontiguousarray(self.codes[name], np.int64).tobytes())
        return found.hexdigest()

    def record(self, row: int, columns: Sequence[str]) -> dict[str, str]:
        """The values of one record in some columns."""
        return {name: self.levels[name][self.codes[name][row]] for name in columns}

    def having(self, column: str, value: str) -> Bool[ndarray, "n"]:
        """The records with a value in a column, none where it does not occur. Raises `BadInput` for no column."""
        check_columns(self, [column])
        levels = self.levels[column]
        place = bisect_left(levels, value)
        return self.codes[column] == (place if value in levels[place : place + 1] else -1)

    def unique(self, columns: Sequence[str]) -> Bool[ndarray, "n"]:
        """The records whose values in the columns no other record has."""
        return ~pd.DataFrame({name: self.codes[name] for name in columns}).duplicated(keep=False).to_numpy()


def _check_names(path: Path, names: Sequence[str]) -> None:
    if not names:
        raise BadInput(f"{path} is empty; give a table with a line of names and records below")
    if "" in names:
        raise BadInput(f"column {names.index('') + 1} of {path} has no name; write one into its first line")
    if twice := [name for name in names if names.count(name) > 1]:
        raise BadInput(f"{path} has two columns called {twice[0]}; give each a name of its own in the first line")


def check_columns(table: RecordTable, columns: Iterable[str]) -> None:
    """Raises `BadInput` for a column that the table has not."""
    for column in columns:
        if column not in table.codes:
            raise BadInput(f"the table has no column {column!r}; choose from: {', '.join(table.names)}")


def asked_value(table: RecordTable, column: str, value: str | None) -> str:
    """The value of a secret column that is asked about: the given one, or the last in order of a column with two.

    Raises `BadInput` for a column that the table has not, and a value that does not occur or has no other beside it.
    """
    check_columns(table, [column])
    levels = table.levels[column]
    if len(levels) == 1:
        raise BadInput(f"all records have {levels[0]!r} in {column}, so there is no secret; name another column")
    if value is None and len(levels) > 2:
        shown = ", ".join(levels[:5]) + (", ..." if len(levels) > 5 else "")
        raise BadInput(f"{column} has {len(levels)} values ({shown}); name the one to ask about with --value")
    if value is not None and value not in levels:
        raise BadInput(f"no record has {value!r} in {column}; its values are {', '.join(levels[:8])}")
    return max(levels) if value is None else value


def check_attack(table: RecordTable, column: str, value: str, known: Sequence[str]) -> None:
    """Raises `BadInput` where no records can be attacked: nothing known, the secret known, or nobody unique by it."""
    if not known:
        raise BadInput("the attacker must know something of a record; name the columns with --known")
    check_columns(table, known)
    if twice := [name for name in known if list(known).count(name) > 1]:
        raise BadInput(f"{twice[0]} is named twice among the known columns; name it once")
    if column in known:
        raise BadInput(f"{column} is the secret, and cannot be known too; leave it out of one of the two")
    unique, having = table.unique(known), table.having(column, value)
    for group, words in ((having, "with"), (~having, "without")):
        if not (unique & group).any():
            raise BadInput(
                f"no record {words} {value!r} in {column} is the only one with its values in {', '.join(known)}, so "
                "that none can be singled out; name more known columns"
            )
