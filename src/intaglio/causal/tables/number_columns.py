"""Columns of a table by their names, as texts or as finite numbers."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy import ndarray

from intaglio.causal.tables.csv_reader import RawTable
from intaglio.errors import BadInput

MOST_NAMED = 12
"""Columns of an error's sentence."""


def column(table: RawTable, name: str, path: Path) -> Sequence[object]:
    """A column's values. Raises `BadInput` for a name that there is not."""
    if name not in table.names:
        raise BadInput(f"{path} has no column {name!r}; it has: {', '.join(table.names[:MOST_NAMED])}")
    return list(table.frame.iloc[:, table.names.index(name)])


def numbers(table: RawTable, name: str, path: Path) -> Float[ndarray, "n"]:
    """A column's numbers. Raises `BadInput` for a name that there is not, and for what is no finite number."""
    found = np.asarray(pd.to_numeric(pd.Series(column(table, name, path)), errors="coerce"), np.float64)
    if not np.isfinite(found).all():
        row = int(np.flatnonzero(~np.isfinite(found))[0])
        raise BadInput(f"column {name} of {path} has no number in its row {row + 1}; leave such rows out")
    return found


def arms(table: RawTable, name: str, path: Path) -> Float[ndarray, "n"]:
    """A column of treatments. Raises `BadInput` as `numbers`, and for others than 0 and 1."""
    found = numbers(table, name, path)
    if not np.isin(found, (0, 1)).all():
        raise BadInput(f"column {name} of {path} has other numbers than 0 and 1; write 1 for treated units")
    return found
