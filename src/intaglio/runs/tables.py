"""Rows of plain values as CSV and JSON that every reader takes."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any


def rows_csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Rows as CSV text with a head; NaN and None are empty cells."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: "" if missing(row.get(key)) else row[key] for key in columns})
    return buffer.getvalue()


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
