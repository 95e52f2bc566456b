"""The page's server: this machine alone, one token, until it is interrupted."""

import secrets
import socket
import tempfile
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from markupsafe import escape

from intaglio.errors import BadInput
from intaglio.view.app import make_app
from intaglio.view.guarding import HOSTS


def serve(root: Path, port: int, open_browser: bool, ready: Callable[[str], None]) -> None:
    """Serves the runs of `root` until Ctrl-C.

    Args:
        root: the folder that holds the runs' folders.
        port: on 127.0.0.1; 0 takes a free one.
        open_browser: whether to open the page in a browser, where one with windows is there.
        ready: is given the address, with its token, once it answers.

    Raises `BadInput` where `root` is no folder, or the port is taken or not allowed.
    """
    token = secrets.token_urlsafe(32)
    app = make_app(root, token)
    with _listening(port) as listener:
        address = f"http://{HOSTS[0]}:{listener.getsockname()[1]}/?token={token}"
        config = uvicorn.Config(
            app, lifespan="off", log_level="critical", access_log=False, server_header=False, ws="none",
            timeout_graceful_shutdown=1,
        )  # fmt: skip
        ready(address)
        with _opened(address, open_browser):
            uvicorn.Server(config).run(sockets=[listener])


@contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOSTS[0], port))
            listener.listen(128)
        except OSError as error:
            raise BadInput(
                f"port {port} cannot be used ({error.strerror}); give another, or 0 for a free one"
            ) from None
        yield listener


@contextmanager
def _opened(address: str, wanted: bool) -> Iterator[None]:
    """Opens the address in a browser with windows, if there is one, while the block runs.

    Other users see the words that a program was started with, so the browser is given a file that only this user reads.
    """
    try:
        browser = webbrowser.get() if wanted else None
    except webbrowser.Error:
        browser = None
    # A plain `GenericBrowser` is one for terminals, which would take this one.
    if browser is None or type(browser) is webbrowser.GenericBrowser:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="intaglio-view-") as folder:
        page = Path(folder) / "open.html"
        page.touch(mode=0o600)
        page.write_text(f'<meta http-equiv="refresh" content="0;url={escape(address)}">', encoding="utf-8")
        browser.open(page.as_uri())
        yield
