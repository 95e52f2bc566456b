"""The table of runs, with its search, filters and pages."""

from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from intaglio.printable import one_line
from intaglio.view.index import Known, RunIndex
from intaglio.view.query import PICKED, RunQuery, answer, choices
from intaglio.view.rendering import answered, rendered
from intaglio.view.run_files import cover

COLUMNS = (("run", "Run"), ("status", "Status"), ("started", "Started"), ("took", "Took"))
"""Columns of the table: the key of its order, and its head."""


class ListPage:
    """The page at `/`, over the runs of an index."""

    def __init__(self, index: RunIndex):
        self.index = index

    def page(self, request: Request) -> Response:
        """The page, or with `part=rows` only what changes on it."""
        query = RunQuery.of(request.query_params, request.query_params.getlist("pick"))
        known = self.index.known()
        template = "list_rows.html.j2" if request.query_params.get("part") == "rows" else "list.html.j2"
        return answered(request, rendered(template, **self._values(known, query)))

    def _values(self, known: Known, query: RunQuery) -> dict[str, object]:
        found = answer(known.entries, query)
        there = {entry.key for entry in known.entries}
        picked = tuple(key for key in found.query.pick if key in there) if found.query.pick else ()
        covers = {entry.key: cover(Path(entry.folder)) for entry in found.rows}
        return {
            "root": one_line(str(self.index.root.absolute())),
            "known": known,
            "query": found.query,
            "found": found,
            "choices": choices(known.entries, query),
            "columns": COLUMNS,
            "covers": covers,
            "picked": picked,
            "most": PICKED,
        }
