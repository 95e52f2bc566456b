"""Rows of plain values as CSV and JSON that every reader takes."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""Beginnings of a cell that spreadsheets evaluate."""


def rows_csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Rows as CSV text with a head; NaN and None are empty cells.

    A text that a spreadsheet would take for a formula has an apostrophe before it, which spreadsheets hide.
    """
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: _cell(row.get(key)) for key in columns})
    return buffer.getvalue()


def _cell(value: Any) -> Any:
    if missing(value):
        return ""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def missing(value: Any) -> bool:
    """Whether a cell has no value: None or NaN."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def without_nan(value: Any) -> Any:
    """The same with every number that JSON cannot hold as None."""
    if isinstance(value, Mapping):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
