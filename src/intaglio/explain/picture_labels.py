"""Labels of pictures from a table: a column `picture` and a column `label`."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from intaglio.data_files import read_text
from intaglio.errors import BadInput
from intaglio.printable import one_line

COLUMNS = ("picture", "label")


def read_labels(path: Path, names: Sequence[str]) -> list[str | None]:
    """The label of each picture, None for one that the table does not name.

    Args:
        path: of a CSV file in UTF-8; rows of other pictures are left out.
        names: of the pictures, with their suffix or without.

    Raises `BadInput` for a file that is no such table, and for one that names none of the pictures.
    """
    try:
        table = csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True, skipinitialspace=True)
        columns = [name.strip() for name in table.fieldnames or ()]
        table.fieldnames = columns
        rows = list(table)
    except csv.Error as error:
        raise BadInput(f"{path} cannot be read as a table ({error}); give a CSV file") from error
    if missing := [name for name in COLUMNS if name not in columns]:
        raise BadInput(f"{path} has no column {missing[0]!r}; give the columns picture and label")
    named = {(row["picture"] or "").strip(): one_line((row["label"] or "").strip()) for row in rows}
    found = [named.get(name) or named.get(str(Path(name).with_suffix(""))) or None for name in names]
    if not any(found):
        raise BadInput(f"{path} names none of the pictures; write their file names into the column picture")
    return found
