"""Seconds until the page of `intaglio view` over many runs is there, and findings of axe on it."""

import statistics
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from intaglio.bench.face.browsers import browser_path, launched
from intaglio.bench.face.commands_timed import PROGRAM
from intaglio.bench.face.synthetic_runs import make_runs
from intaglio.errors import IntaglioError

TURNS = 5
"""Answers and paints whose median is taken."""
LONGEST_S = 120.0
"""Seconds that a first reading of the folder may take."""
FIRST_PAINT = """new Promise(told => new PerformanceObserver(seen => told(seen.getEntries().at(-1).startTime))
    .observe({type: 'paint', buffered: true}))"""
"""Milliseconds from the navigation to the first contentful paint."""
SERIOUS = ("serious", "critical")
"""Impacts of findings of axe that are counted."""


def page_figures(count: int) -> dict[str, Any]:
    """Seconds of the list over so many made-up runs, and axe's serious findings on the list and on one run's page.

    Until the address is printed, of the first answer, until all is read, and as medians of later answers and first
    paints; paints and findings are None where no browser, or no axe, is installed.
    """
    with tempfile.TemporaryDirectory(prefix="intaglio-face-") as folder:
        make_runs(Path(folder), count)
        with _served(Path(folder)) as (address, up):
            found: dict[str, Any] = {"up_s": up, "first_answer_s": _first_byte(address)}
            found["all_read_s"] = up + _until_read(address)
            found["later_answer_s"] = statistics.median(_first_byte(address) for _ in range(TURNS))
            return {**found, **_in_browser(address)}


def _in_browser(address: str) -> dict[str, Any]:
    """First paints, and findings of axe."""
    nothing: dict[str, Any] = {"first_paint_s": None, "axe_serious": None}
    if browser_path() is None:
        return nothing
    try:
        with launched() as browser:
            paints = statistics.median(_paint(browser, address) for _ in range(TURNS))
            return {"first_paint_s": paints, "axe_serious": _serious(browser, address)}
    except ImportError:
        return nothing


def _serious(browser: Any, address: str) -> int | None:
    """Serious findings of axe on the list and on the page of its first run; None where axe is not installed."""
    try:
        from axe_playwright_python.sync_playwright import Axe
    except ImportError:
        return None
    page = browser.new_page()
    page.goto(address)
    page.wait_for_selector("table.runs")
    first = page.locator("table.runs a").first.get_attribute("href")
    found = 0
    for place in (None, first):
        if place is not None:
            page.goto(f"{address.split('/?')[0]}{place}")
            page.wait_for_selector("h1")
        violations = Axe().run(page).response["violations"]
        found += sum(one["impact"] in SERIOUS for one in violations)
    page.close()
    return found


@contextmanager
def _served(root: Path) -> Iterator[tuple[str, float]]:
    """The command over a folder: its address, and the seconds until it was printed."""
    began = time.monotonic()
    words = [*PROGRAM, "view", str(root), "--no-open"]
    server = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        address = "" if server.stdout is None else server.stdout.readline().strip()
        if not address:
            raise IntaglioError(f"`intaglio view {root}` printed no address")
        yield address, time.monotonic() - began
    finally:
        server.terminate()
        server.wait()


def _answered(address: str, at_most: int | None = None) -> bytes:
    """The list of runs, or its first bytes."""
    base, token = address.split("/?token=")
    asked = urllib.request.Request(f"{base}/", headers={"Cookie": f"intaglio_{base.rpartition(':')[2]}={token}"})
    with urllib.request.urlopen(asked) as answer:
        return answer.read(at_most)


def _seconds(call: Callable[[], object]) -> float:
    began = time.monotonic()
    call()
    return time.monotonic() - began


def _first_byte(address: str) -> float:
    """Seconds until the first byte of one answer to the list of runs."""
    return _seconds(lambda: _answered(address, 1))


def _until_read(address: str) -> float:
    """Seconds until the list says no more that folders are still being read."""
    began = time.monotonic()
    while b"still being read" in _answered(address) and time.monotonic() - began < LONGEST_S:
        time.sleep(0.1)
    return time.monotonic() - began


def _paint(browser: Any, address: str) -> float:
    """Seconds from the navigation to the first contentful paint of the list, in a browser that has nothing stored."""
    page = browser.new_page()
    page.goto(address)
    page.wait_for_selector("table.runs")
    seconds = page.evaluate(FIRST_PAINT) / 1000
    page.close()
    return seconds
