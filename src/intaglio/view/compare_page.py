"""The page of two or more runs side by side."""

from starlette.requests import Request
from starlette.responses import Response

from intaglio.view.comparing import figures_rows, overlays, picture_rows, read_headers, settings_rows
from intaglio.view.index import RunIndex
from intaglio.view.live import Tails
from intaglio.view.query import PICKED
from intaglio.view.rendering import answered, rendered
from intaglio.view.run_files import is_pixel_art


class ComparePage:
    """The page at `/compare`, over the runs of an index."""

    def __init__(self, index: RunIndex, tails: Tails):
        self.index, self.tails = index, tails

    def page(self, request: Request) -> Response:
        """The runs that `run` names, each time it is given; at most `PICKED`."""
        keys = list(dict.fromkeys(key for key in request.query_params.getlist("run") if key))
        found = [(key, self.index.find(key)) for key in keys]
        entries = [entry for _, entry in found if entry is not None][:PICKED]
        values = {
            "entries": entries,
            "missing": [key for key, entry in found if entry is None],
            "beyond": max(0, len(found) - PICKED),
            "most": PICKED,
        }
        if len(entries) < 2:
            return answered(request, rendered("compare_none.html.j2", **values))
        headers = read_headers(entries)
        pictures, same, left = picture_rows(entries)
        values |= {
            "settings": settings_rows(headers),
            "figures": figures_rows(headers),
            "overlays": overlays([self.tails.series(entry.folder) for entry in entries]),
            "pictures": pictures,
            "same": same,
            "left": left,
            "is_pixel_art": is_pixel_art,
        }
        return answered(request, rendered("compare.html.j2", **values))
