"""Admission to the page: this machine, with the token, to read; and the headers that keep a page to itself."""

import secrets
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from markupsafe import escape
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, PlainTextResponse, Response

HOSTS = ("127.0.0.1", "localhost")
"""Names under which the page may be asked for; another name may be a stranger's that leads here (DNS rebinding)."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'{styles}; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""The policy of a page's content; `styles` are hashes of style sheets within it."""
PASSING = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Intaglio</title><link rel="icon" href="data:,">'
    '<meta http-equiv="refresh" content="0;url={address}"></head><body><a href="{address}">Runs</a></body></html>'
)
"""The page that leads on to an address without the token."""
HEADERS = {
    "Content-Security-Policy": POLICY.format(styles=""),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "private, no-cache",
}
"""Headers of every answer that does not set them itself."""


class Guard:
    """An ASGI application behind a token, in front of another."""

    def __init__(self, app: Any, token: str):
        """`token`: what an address must carry once as `?token=`; a cookie carries it from then on."""
        self.app, self.token = app, token.encode()

    async def __call__(self, scope: Any, receive: Callable, send: Callable) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # a web socket is closed before it opens
            await send({"type": "websocket.close"})
            return

        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await (self._refusal(scope) or self.app)(scope, receive, with_headers)

    def _refusal(self, scope: Any) -> Response | None:
        """The answer to who may not ask, or who has just brought the token; None where the page is to answer."""
        headers, port = Headers(scope=scope), scope["server"][1]
        if headers.get("host") not in {f"{name}:{port}" for name in HOSTS} | (set(HOSTS) if port == 80 else set()):
            return _sentence(403, "This page answers to 127.0.0.1 and localhost only; open the address as printed.")
        if scope["method"] not in ("GET", "HEAD"):
            return _sentence(405, "This page only reads; ask with GET or HEAD.", {"Allow": "GET, HEAD"})
        asked = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = [value for name, value in asked if name == "token"]
        if given and self._is_token(given[-1]):
            return self._admitted(scope, [pair for pair in asked if pair[0] != "token"], port)
        if self._is_token(_cookie(headers.get("cookie", ""), f"intaglio_{port}")):
            return None
        return _sentence(403, "This page wants its token; open the address that `intaglio view` printed.")

    def _is_token(self, given: str) -> bool:
        return secrets.compare_digest(given.encode("utf-8", "surrogateescape"), self.token)

    def _admitted(self, scope: Any, rest: list[tuple[str, str]], port: int) -> Response:
        """Keeps the token in a cookie and leads to the address without it.

        By a page, not by a redirect: after a link in another page a browser keeps a strict cookie from a redirect.
        """
        # A path that began with two slashes would be another machine's address.
        path = f"/{quote(scope['path'].lstrip('/'))}"
        address = escape(f"{path}?{urlencode(rest)}" if rest else path)
        page = PASSING.format(address=address)
        response = HTMLResponse(page, headers={"Cache-Control": "no-store"})
        name, value = f"intaglio_{port}", self.token.decode()
        response.set_cookie(name, value, httponly=True, samesite="strict", path="/")
        return response


def _sentence(status: int, sentence: str, headers: dict[str, str] | None = None) -> Response:
    return PlainTextResponse(f"{sentence}\n", status, headers={"Cache-Control": "no-store"} | (headers or {}))


def _cookie(header: str, name: str) -> str:
    try:
        found = SimpleCookie(header).get(name)
    except CookieError:
        return ""
    return "" if found is None else found.value
