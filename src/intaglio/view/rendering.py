"""Pages made of templates, and the style sheet, script and mark that they share."""

import hashlib
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from intaglio.amounts import size_words
from intaglio.printable import printable
from intaglio.report.kit.format import count, duration
from intaglio.view.run_files import in_address

KINDS = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
STATIC = ("view.css", "view.js", "mark.svg")
"""Files of the room's own that pages load; `figures.css` is the style of the reports, whose figures pages show."""


def run_address(key: str, *rest: str) -> str:
    """The address of a run's page, or of what lies below it."""
    return "/".join(["/run", quote(key, safe=""), *(in_address(part) for part in rest)])


@cache
def environment() -> Environment:
    """The templates; text of others is escaped, and a name that is missing is an error."""
    made = Environment(
        loader=PackageLoader("intaglio.view"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {"duration": duration, "size_words": size_words}
    made.globals |= {"run_address": run_address, "static_address": static_address, "count": count}
    return made


def rendered(template: str, **values: Any) -> str:
    """The text of a page or of a part of one."""
    return printable(environment().get_template(template).render(**values))


def answered(request: Request, text: str, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A page; where the browser has the same one already, only that is said."""
    mark = f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'
    headers = {"ETag": mark} | (headers or {})
    if status == 200 and request.headers.get("if-none-match") == mark:
        return Response(status_code=304, headers=headers)
    return HTMLResponse(text, status, headers)


@cache
def static_content(name: str) -> bytes | None:
    """The content of a file that pages load; None where there is no such file."""
    if name == "figures.css":
        return files("intaglio.report").joinpath("templates", "style.css.j2").read_bytes()
    return files("intaglio.view").joinpath("static", name).read_bytes() if name in STATIC else None


@cache
def static_address(name: str) -> str:
    """The address of such a file, which changes with its content, so that a browser may keep it for good."""
    return f"/static/{name}?{hashlib.sha256(static_content(name) or b'').hexdigest()[:12]}"


def static(request: Request) -> Response:
    """A file that pages load; the mark is also what browsers ask for of themselves, as `/favicon.ico`."""
    name = request.path_params.get("name", "mark.svg")
    content = static_content(name)
    if content is None:
        return Response("There is no such file.\n", 404, media_type="text/plain")
    kept = {"Cache-Control": "private, max-age=31536000, immutable"}
    return Response(content, media_type=KINDS[name.rpartition(".")[2]], headers=kept)
