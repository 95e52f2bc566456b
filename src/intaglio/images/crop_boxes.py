"""Crop boxes of pictures, read from a CSV file."""

import csv
import io
from pathlib import Path

from intaglio.data_files import read_text
from intaglio.errors import BadInput
from intaglio.images.decode import Box

COLUMNS = ("name", "left", "top", "right", "bottom")


def read_boxes(path: Path) -> dict[str, Box]:
    """Boxes by picture name, from a CSV of name, left, top, right, bottom in pixels of the upright picture.

    Raises `BadInput` naming the file and the line.
    """
    try:
        text = read_text(Path(path))
    except BadInput as error:
        raise BadInput(f"{path} cannot be read as a table of boxes: {error}") from error
    try:
        table = csv.DictReader(io.StringIO(text, newline=""))
        if missing := [name for name in COLUMNS if name not in (table.fieldnames or ())]:
            raise BadInput(f"{path} has no column {missing[0]}; its first line must read {','.join(COLUMNS)}")
        rows = list(table)
    except csv.Error as error:
        raise BadInput(f"{path} cannot be read as a table of boxes ({error}); give a CSV file") from error
    boxes: dict[str, Box] = {}
    for line, row in enumerate(rows, start=2):
        try:
            left, top, right, bottom = (int(row[name]) for name in COLUMNS[1:])
        except (TypeError, ValueError) as error:
            raise BadInput(
                f"line {line} of {path} has no four whole numbers; give left,top,right,bottom in pixels"
            ) from error
        if row["name"] in boxes:
            raise BadInput(f"line {line} of {path} names {row['name']} a second time; keep one box a picture")
        boxes[row["name"]] = (left, top, right, bottom)
    return boxes
