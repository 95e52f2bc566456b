"""The page's addresses, as a starlette application behind its guard."""

from pathlib import Path
from threading import Thread
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from intaglio.errors import IntaglioError
from intaglio.view.compare_page import ComparePage
from intaglio.view.guarding import Guard
from intaglio.view.index import RunIndex
from intaglio.view.lineage_page import LineagePage
from intaglio.view.list_page import ListPage
from intaglio.view.rendering import answered, rendered, static
from intaglio.view.run_page import RunPages


def make_app(root: Path, token: str) -> Guard:
    """The application over the runs right below `root`, which it reads and never writes.

    It answers at 127.0.0.1 and localhost to who brought `token`. The folder is read in the background from now on, and
    pages show what is read so far. Raises `BadInput` where `root` is no folder.
    """
    index = RunIndex(root)
    Thread(target=index.refresh, daemon=True).start()
    lineage, listed = LineagePage(index), ListPage(index)
    runs = RunPages(index, lineage)
    compare = ComparePage(index, runs.tails)
    routes = [
        Route("/", listed.page),
        Route("/compare", compare.page),
        Route("/lineage", lineage.page),
        Route("/static/{name}", static),
        Route("/favicon.ico", static),
        Route("/run/{key}", runs.page),
        Route("/run/{key}/graph", runs.graph),
        Route("/run/{key}/report", runs.report),
        Route("/run/{key}/thumb/{path:path}", runs.thumb),
        Route("/run/{key}/{path:path}", runs.file),
    ]
    faults: Any = {HTTPException: _missing, IntaglioError: _failed, Exception: _broken}
    return Guard(Starlette(routes=routes, exception_handlers=faults), token)


def _missing(request: Request, error: HTTPException) -> Response:
    sentence = error.detail if error.status_code == 404 and error.detail != "Not Found" else "There is no such page."
    return answered(request, rendered("fault.html.j2", sentence=sentence), error.status_code)


def _failed(request: Request, error: IntaglioError) -> Response:
    return answered(request, rendered("fault.html.j2", sentence=str(error)), 422)


def _broken(request: Request, error: Exception) -> Response:
    what = f"{type(error).__name__}: {error}"
    sentence = (
        f"This is a fault of intaglio itself ({what}); the runs are as they were. Report it with `intaglio doctor`."
    )
    return answered(request, rendered("fault.html.j2", sentence=sentence), 500)
