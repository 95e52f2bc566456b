"""Content of the page of tables whose cells are coloured by their value."""

from collections.abc import Sequence
from dataclasses import dataclass

from intaglio.report.kit.views import Page, PageTable, Row


@dataclass(frozen=True)
class HeatRow:
    """A row of a table whose cells are coloured by their value."""

    name: str
    cells: Sequence[tuple[str, int, str]]
    """Text, percent of the deepest colour, and a note of the cell."""


@dataclass(frozen=True)
class HeatTable:
    """Values by two names each, and a table beside them."""

    name: str
    text: str
    corner: str
    heads: Sequence[str]
    rows: Sequence[HeatRow]
    aside: PageTable


@dataclass(frozen=True, kw_only=True)
class HeatPage(Page):
    """Tables of values with colours."""

    heats: Sequence[HeatTable]
    heats_text: str
    limits: Sequence[Row]
