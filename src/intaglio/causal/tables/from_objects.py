"""Conversion of in-memory tables (frames, arrays, sparse matrices, rows, mappings) to pandas DataFrames."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from intaglio.errors import BadInput

MAX_DENSE_CELLS = 50_000_000
"""Cells of a sparse matrix that is made dense."""


def to_frame(given: Any, names: Sequence[str] | None = None) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """A DataFrame and the names of its columns; x0, x1, … where they have none.

    Args:
        given: a DataFrame (of pandas, or one that has `to_pandas`), an array of two dimensions, a sparse matrix, a list
            of rows or of mappings, a mapping from names to columns.
        names: used instead of its own.

    Raises:
        BadInput: it is not two-dimensional, or a name occurs twice or is empty.
    """
    frame = _as_frame(given)
    unnamed = isinstance(frame.columns, pd.RangeIndex)
    own = [f"x{k}" for k in range(frame.shape[1])] if unnamed else [column_name(label) for label in frame.columns]
    chosen = tuple(own if names is None else map(str, names))
    if len(chosen) != frame.shape[1]:
        raise BadInput(f"{len(chosen)} names do not fit {frame.shape[1]} columns; give one for each")
    check_names(chosen)
    return frame, chosen


def check_names(names: Sequence[str]) -> None:
    """Raises `BadInput` where two columns share a name, in any Unicode form, or one has none."""
    seen: dict[str, int] = {}
    for index, name in enumerate(names):
        if not name:
            raise BadInput(f"column {index + 1} has an empty name; give it one")
        if (first := seen.setdefault(unicodedata.normalize("NFC", name), index)) != index:
            alike = "" if names[first] == name else ", in two Unicode forms that look the same"
            raise BadInput(f"columns {first + 1} and {index + 1} are both named {name!r}{alike}; rename one of them")


def names_of(labels: Iterable[Any], frame: pd.DataFrame, names: Sequence[str]) -> list[str]:
    """The names of columns that are given by name or by a frame's own labels, such as numbers or tuples."""
    own = dict(zip(frame.columns, names, strict=True))
    return [label if label in names else own.get(label, column_name(label)) for label in labels]


def column_name(label: Any) -> str:
    """The name of a column by its label in a frame: its text, for several levels their texts."""
    return " ".join(str(part) for part in label if str(part)) if isinstance(label, tuple) else str(label).strip()


def _as_frame(given: Any) -> pd.DataFrame:
    if isinstance(given, pd.DataFrame):
        return given
    if isinstance(given, str | Path):
        raise BadInput(f"{str(given)!r} is the name of a file and no table; read it with Table.load")
    if isinstance(given, pd.Series):
        raise BadInput(f"{given.name!r} is a single column; give a table of two dimensions, rows and columns")
    if hasattr(given, "to_pandas"):
        return given.to_pandas()
    if hasattr(given, "toarray"):
        return pd.DataFrame(_dense(given))
    if isinstance(given, Mapping):
        return _constructed(dict(given))
    if isinstance(given, Sequence) and given and all(isinstance(row, Mapping) for row in given):
        return _constructed(list(given))
    return _from_array(given)


def _constructed(given: Any) -> pd.DataFrame:
    try:
        return pd.DataFrame(given)
    except (ValueError, TypeError) as error:
        raise BadInput(f"this makes no table ({error}); give columns of one length") from error


def _dense(matrix: Any) -> np.ndarray:
    if (cells := int(np.prod(matrix.shape))) > MAX_DENSE_CELLS:
        raise BadInput(
            f"the sparse matrix has {cells:,} cells, and {MAX_DENSE_CELLS:,} at most are written out; "
            "draw some of its rows"
        )
    return matrix.toarray()


def _from_array(given: Any) -> pd.DataFrame:
    try:
        array = np.asarray(given) if hasattr(given, "__array__") else np.array(given, dtype=object)
    except (ValueError, TypeError, RuntimeError) as error:
        raise BadInput(f"this makes no table ({error}); give a DataFrame or an array, rows by columns") from error
    if array.dtype.names:
        return pd.DataFrame(array)
    if array.ndim != 2:
        raise BadInput(
            f"a table has two dimensions, rows and columns, and this has {array.ndim} (shape {array.shape}); "
            "reshape it, or give a DataFrame"
        )
    frame = pd.DataFrame(array)
    return frame.infer_objects() if array.dtype == object else frame
