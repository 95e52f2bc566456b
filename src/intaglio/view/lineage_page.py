"""The page of what was made from what."""

from collections.abc import Sequence

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from intaglio.printable import one_line
from intaglio.view.index import RunEntry, RunIndex
from intaglio.view.lineage import Lineage
from intaglio.view.rendering import answered, rendered

TREES = 12
"""Trees of a page."""


class LineagePage:
    """The page at `/lineage`, over the runs of an index."""

    def __init__(self, index: RunIndex):
        self.index = index
        self._of: Sequence[RunEntry] = ()
        self._found = Lineage(())

    def lineage(self) -> Lineage:
        """The lineage of the runs as they are now."""
        entries = self.index.known().entries
        if entries is not self._of:
            self._found, self._of = Lineage(entries), entries
        return self._found

    def page(self, request: Request) -> Response:
        """All trees, or with `run` the one of that run."""
        lineage, key = self.lineage(), request.query_params.get("run", "")
        if not key:
            given = request.query_params.get("page", "")
            trees = lineage.trees()
            pages = max(1, -(-len(trees) // TREES))
            page = min(int(given), pages) if given.isascii() and given.isdecimal() and 0 < len(given) < 9 else 1
            page = max(1, page)
            shown = trees[(page - 1) * TREES : page * TREES]
            alone = len(lineage.entries) - sum(tree.size for tree in trees)
        else:
            tree = lineage.around(key)
            if tree is None:
                raise HTTPException(404, f"There is no run {one_line(key)} in this folder.")
            shown, page, pages, alone = [tree], 1, 1, 0
        values = {"trees": shown, "number": page, "pages": pages, "alone": alone, "key": key}
        return answered(request, rendered("lineage.html.j2", unread=self.index.known().unread, **values))
