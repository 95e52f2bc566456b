"""The browser that pages are tested in: Chromium, where one is installed."""

import os
import shutil
from contextlib import contextmanager

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
NO_BROWSER = "no Chromium is installed; install one, or name it in INTAGLIO_BROWSER"


def browser_path() -> str | None:
    """The path of Chromium; `INTAGLIO_BROWSER` names another."""
    named = os.environ.get("INTAGLIO_BROWSER")
    return shutil.which(named) if named else next((found for name in NAMES if (found := shutil.which(name))), None)


@contextmanager
def launched():
    """A browser without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=browser_path(), args=OPTIONS)
        try:
            yield browser
        finally:
            browser.close()
