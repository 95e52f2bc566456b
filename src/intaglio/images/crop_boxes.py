"""Which part of each picture counts, read from a table."""

import csv
from pathlib import Path

from intaglio.errors import BadInput
from intaglio.images.decode import Box

COLUMNS = ("name", "left", "top", "right", "bottom")


def read_boxes(path: Path) -> dict[str, Box]:
    """A CSV with the columns name, left, top, right, bottom: a picture's name and whole pixels of its upright self.

    Raises `BadInput` naming the file and the line.
    """
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file)
            if missing := [name for name in COLUMNS if name not in (table.fieldnames or ())]:
                raise BadInput(f"{path} has no column {missing[0]}; its first line must read {','.join(COLUMNS)}")
            rows = list(table)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{path} cannot be read as a table of boxes ({error}); give a CSV file") from error
    boxes: dict[str, Box] = {}
    for place, row in enumerate(rows, start=2):
        try:
            left, top, right, bottom = (int(row[name]) for name in COLUMNS[1:])
        except (TypeError, ValueError) as error:
            raise BadInput(
                f"line {place} of {path} has no four whole numbers; give left,top,right,bottom in pixels"
            ) from error
        if row["name"] in boxes:
            raise BadInput(f"line {place} of {path} names {row['name']} a second time; keep one box a picture")
        boxes[row["name"]] = (left, top, right, bottom)
    return boxes
