"""`TableReading`: what a user says of how a file writes its table, where that cannot be told from the file."""

import codecs
from dataclasses import dataclass
from typing import Literal

from intaglio.errors import BadInput

Thousands = Literal["", ",", "."]


@dataclass(frozen=True)
class TableReading:
    """The way in which a file writes its table."""

    encoding: str = ""
    """Encoding of a text file, by Python's name; empty for UTF-8, or UTF-16 with a byte-order mark."""
    thousands: Thousands = ""
    """The sign between groups of three digits; the other one is then the decimal sign. Empty for none."""
    sheet: str = ""
    """The sheet of a workbook; empty for its first."""
    missing: tuple[tuple[str, str], ...] = ()
    """(column, code) pairs of codes that mean missing; an empty column is every column."""

    def __post_init__(self) -> None:
        if self.thousands not in ("", ",", "."):
            raise BadInput(f"the thousands sign (--thousands) is a comma or a point, not {self.thousands!r}")
        if not self.encoding:
            return
        try:
            # Codecs that give no text, such as zip, are refused by the same error.
            b"a".decode(self.encoding)
        except LookupError as error:
            raise BadInput(
                f"{self.encoding!r} (--encoding) is no encoding of text; take one such as latin-1, cp1252 or utf-16"
            ) from error
        except ValueError:
            codecs.lookup(self.encoding)

    @property
    def decimal(self) -> str:
        """The decimal sign that goes with the thousands sign."""
        return "," if self.thousands == "." else "."


AS_IT_IS = TableReading()
"""What is told from the file alone."""
