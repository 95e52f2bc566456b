"""Tables about pictures: numbers that are their features, and texts that are their labels; read as data."""

import csv
import io
import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from intaglio.data_files import read_bytes, read_text
from intaglio.errors import BadInput
from intaglio.images.captions import ByName
from intaglio.printable import one_line

PICTURE = "picture"
"""Column of the pictures' names."""
LARGEST = 2**30
"""Bytes of the arrays of an `.npz`, once unpacked."""
Features = Float[ndarray, "n d"]


def read_features(path: Path, names: Sequence[str]) -> Features:
    """Features of pictures: a CSV file with a column `picture` and numbers in all others, or an `.npz`.

    Args:
        path: of the file; an `.npz` has `features` [m, d] and `names` [m]. Nothing is unpickled.
        names: of n pictures, each of which must have a row; further rows are left out.

    Raises `BadInput` for a file that is no such table, for a picture without a row and for what is no finite number.
    """
    if path.suffix.lower() == ".npz":
        stored, rows = _read_archive(path)
        by_name = dict(zip(stored, rows, strict=True))
    else:
        table = _read_rows(path)
        by_name = {name: _numbers(row, name, path) for name, row in table.items()}
    found = ByName(by_name)
    picked = [_row_of(found.get(name), name, path) for name in names]
    features = np.stack(picked)
    if not np.isfinite(features).all():
        bad = next(name for name, row in zip(names, picked, strict=True) if not np.isfinite(row).all())
        raise BadInput(f"{path} has a number that is not finite in the row of {one_line(bad)}; give finite ones")
    return features


@dataclass(frozen=True, eq=False)
class NamedRows:
    """Numbers with names of their rows and columns."""

    names: tuple[str, ...]
    columns: tuple[str, ...]
    rows: Features


def read_named_rows(path: Path) -> NamedRows:
    """All rows of a table as `read_features` takes it; columns of an `.npz` are called `feature 0`, `feature 1`, ...

    Raises `BadInput` for a file that is no such table, and for what is no finite number.
    """
    if path.suffix.lower() == ".npz":
        names, rows = _read_archive(path)
        columns = [f"feature {k}" for k in range(rows.shape[1])]
    else:
        table = _read_rows(path)
        names, columns = list(table), list(next(iter(table.values())))
        rows = np.stack([_numbers(row, name, path) for name, row in table.items()])
    if not np.isfinite(rows).all():
        bad = names[int(np.flatnonzero(~np.isfinite(rows).all(1))[0])]
        raise BadInput(f"{path} has a number that is not finite in the row of {one_line(bad)}; give finite ones")
    return NamedRows(tuple(names), tuple(columns), rows)


def read_labels(path: Path, names: Sequence[str]) -> dict[str, list[str]]:
    """Texts of each column but `picture` in a CSV file, one a picture; empty where it has no row or an empty cell.

    Raises `BadInput` for a file that is no such table, and where no picture has a row.
    """
    table = _read_rows(path)
    found = ByName(table)
    rows = [found.get(name) for name in names]
    if not any(row is not None for row in rows):
        raise BadInput(f"{path} has no row for any of the pictures; name them as the files are, in a column {PICTURE}")
    columns = list(next(iter(table.values())))
    return {column: [(row or {}).get(column, "") for row in rows] for column in columns}


def check_row_names(path: Path, names: Sequence[str]) -> None:
    """Raises `BadInput` where some pictures of these names have no row, and some rows are of none: one may be misspelt.

    A row for each picture, and further ones, are no error, nor are rows for some of the pictures alone.
    """
    table = _read_rows(path)
    rows, pictures = ByName(table), ByName({name: name for name in names})
    lacking = [name for name in names if rows.get(name) is None]
    others = [name for name in table if pictures.get(name) is None]
    if lacking and others:
        raise BadInput(
            f"{path} has no row for {one_line(lacking[0])}, and a row for {one_line(others[0])}, which is no picture; "
            "name rows as the files are, or leave out those of other pictures"
        )


def read_label_columns(
    path: Path, names: Sequence[str], columns: Sequence[str], group: str
) -> tuple[dict[str, list[str]], list[str] | None]:
    """The columns of `read_labels` that are named, all where none are, and that of groups, None where it is empty.

    Raises `BadInput` for columns that there are not, and where none is left beside that of groups.
    """
    found = read_labels(path, names)
    for flag, given in (("--group", [group] if group else []), ("--columns", columns)):
        if lacking := [one for one in given if one not in found]:
            few = ", ".join(one_line(name) for name in found)
            raise BadInput(f"{path} has no column {one_line(lacking[0])} for {flag}; it has: {few}")
    texts = {name: one for name, one in found.items() if name in (columns or found) and name != group}
    if not texts:
        raise BadInput(f"{path} has no labels beside --group; give a column of them")
    return texts, found[group] if group else None


def _row_of(row: Float[ndarray, "d"] | None, name: str, path: Path) -> Float[ndarray, "d"]:
    if row is None:
        raise BadInput(f"{path} has no row for {one_line(name)}; give features of every picture")
    return row


def _read_rows(path: Path) -> dict[str, dict[str, str]]:
    """Cells by column, without blanks around them, by the picture's name."""
    try:
        table = csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True)
        columns = [name.strip() for name in table.fieldnames or ()]
        table.fieldnames = columns
        rows = list(table)
    except csv.Error as error:
        raise BadInput(f"{path} cannot be read as a table ({error}); give a CSV file") from error
    _check_columns(columns, path)
    found: dict[str, dict[str, str]] = {}
    for line, row in enumerate(rows, start=2):
        if len(row) != len(columns) or None in row.values():
            raise BadInput(f"line {line} of {path} has not {len(columns)} cells; give one a column")
        name = row[PICTURE].strip()
        if name in found:
            raise BadInput(f"{path} has two rows for {one_line(name)}; keep one a picture")
        found[name] = {column: row[column].strip() for column in columns if column != PICTURE}
    if not found:
        raise BadInput(f"{path} has no rows; give one a picture")
    return found


def _check_columns(columns: Sequence[str], path: Path) -> None:
    if PICTURE not in columns:
        few = ", ".join(map(one_line, columns[:5])) or "nothing"
        raise BadInput(f"{path} has no column {PICTURE}; its first line has {few}: let {PICTURE} head the rows' names")
    if len(columns) < 2:
        raise BadInput(f"{path} has no column beside {PICTURE}; give one or more, each with a name of its own")
    if twice := [name for name in columns if columns.count(name) > 1]:
        raise BadInput(f"{path} has two columns called {one_line(twice[0])}; give each a name of its own")


def _numbers(row: Mapping[str, str], name: str, path: Path) -> Float[ndarray, "d"]:
    try:
        return np.array([float(cell) for cell in row.values()])
    except ValueError:
        wrong = next(cell for cell in row.values() if math.isnan(_number(cell)))
        raise BadInput(f"{path} has {one_line(repr(wrong))} in the row of {one_line(name)}; give numbers") from None


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return math.nan


def _read_archive(path: Path) -> tuple[list[str], Features]:
    """Names and features of an `.npz`; what would have to be unpickled is refused."""
    remedy = "save features [m, d] and names [m] with numpy.savez"
    try:
        content = io.BytesIO(read_bytes(path))
        with zipfile.ZipFile(content) as archive:
            size = sum(one.file_size for one in archive.infolist())
        if size > LARGEST:
            raise BadInput(f"{path} unpacks to {size:,} bytes, more than is read; give fewer features")
        with np.load(content, allow_pickle=False) as stored:
            names, features = stored["names"], stored["features"]
    except BadInput:
        raise
    except (ValueError, OSError, EOFError, KeyError, MemoryError, RuntimeError, zipfile.BadZipFile) as error:
        raise BadInput(f"{path} cannot be read as features ({one_line(str(error)[:120])}); {remedy}") from error
    if names.dtype.kind != "U" or names.ndim != 1 or features.ndim != 2 or features.dtype.kind not in "fiu":
        raise BadInput(f"{path} has no texts [m] as names and no numbers [m, d] as features; {remedy}")
    if len(names) != len(features) or not features.size or len(set(names.tolist())) < len(names):
        raise BadInput(f"{path} has not one row of features for each name; {remedy}")
    return names.tolist(), features.astype(np.float64)
