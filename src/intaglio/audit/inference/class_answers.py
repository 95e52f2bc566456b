"""Answers of a classifier service: rows of probabilities, read from a table, and bounded away from zero."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.data_files import read_text
from intaglio.errors import BadInput
from intaglio.printable import one_line

FLOOR = 1e-4
"""Probability that every class has at least, before rows are compared: answers come with a few decimals."""
ROUNDING = 0.01
"""How far the sum of a row may lie from 1."""
PICTURE = "picture"
"""Column of the pictures' names."""
Answers = Float[Tensor, "n K"]
"""Probabilities of K classes for n pictures; rows sum to 1."""


def bounded(answers: Answers) -> Answers:
    """The answers in float64, no number below `FLOOR` before the rows sum to 1 again."""
    raised = answers.double().clamp_min(FLOOR)
    return raised / raised.sum(1, keepdim=True)


def check_answers(answers: Answers, names: Sequence[str]) -> None:
    """Raises `BadInput` for a row that is no distribution: numbers beyond [0, 1], or a sum off 1 by more than 0.01."""
    for name, row in zip(names, answers.tolist(), strict=True):
        if not all(0 <= value <= 1 for value in row):
            raise BadInput(f"the answer for {one_line(name)} has numbers outside of 0 to 1; give probabilities")
        if abs(sum(row) - 1) > ROUNDING:
            raise BadInput(f"the answer for {one_line(name)} sums to {sum(row):.3g}; give probabilities that sum to 1")


def read_answers(path: Path, classes: Sequence[str], names: Sequence[str]) -> Answers:
    """The answers for some pictures in a CSV file in UTF-8: a column `picture`, and one for each class.

    Args:
        path: of the file; further rows and columns are left out.
        classes: K names, in the order of the answers.
        names: of n pictures, each of which must have one row.

    Raises `BadInput` for a file that is no such table, and for a row that is no distribution.
    """
    try:
        table = csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True, skipinitialspace=True)
        columns = [name.strip() for name in table.fieldnames or ()]
        table.fieldnames = columns
        rows = list(table)
    except csv.Error as error:
        raise BadInput(f"{path} cannot be read as a table ({error}); give a CSV file") from error
    if missing := [name for name in (PICTURE, *classes) if name not in columns]:
        raise BadInput(f"{path} has no column {missing[0]!r}; give {PICTURE} and a column for each class of the head")
    found: dict[str, list[float]] = {}
    for row in rows:
        name = (row[PICTURE] or "").strip()
        if name in found:
            raise BadInput(f"{path} has two rows for {one_line(name)}; give one answer a picture")
        found[name] = [_number(row[one], name, path) for one in classes]
    if lost := [name for name in names if name not in found]:
        raise BadInput(f"{path} has no row for {one_line(lost[0])}; give an answer for every picture")
    answers = torch.tensor([found[name] for name in names], dtype=torch.float64).reshape(len(names), len(classes))
    check_answers(answers, names)
    return answers


def _number(text: str | None, name: str, path: Path) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise BadInput(f"{path} has {one_line(str(text))!r} in the row of {one_line(name)}; give numbers")
    return value
