"""A page of several tables."""

from collections.abc import Sequence
from dataclasses import dataclass

from intaglio.report.kit.views import Page, PageTable, Row


@dataclass(frozen=True, kw_only=True)
class TablesPage(Page):
    """Several tables, each with the text above it; rows may be none."""

    tables: Sequence[tuple[str, PageTable]]
    limits: Sequence[Row]
