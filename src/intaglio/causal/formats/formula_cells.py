"""Texts in CSV that a spreadsheet would run as formulas: written with an apostrophe before them, read without."""

import re

from intaglio.runs.tables import FORMULA

_FORMULA = re.compile(f"'*[{re.escape(''.join(FORMULA))}]")
"""Beginnings of a formula, also behind apostrophes, so that writing can be undone."""


def as_cell(text: str) -> str:
    """The text as a cell that shows it and does nothing."""
    return f"'{text}" if _FORMULA.match(text) else text


def from_cell(cell: str) -> str:
    """The text of a cell that `as_cell` made; any other cell as it is."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell[1:]) else cell
