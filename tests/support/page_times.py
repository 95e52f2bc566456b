"""Seconds until the page over many runs is there: the first byte, and the first paint in a browser.

usage: python tests/support/page_times.py [RUNS ...]      (of 10 and 10,000 runs, where no numbers are given)
"""

import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from browsers import browser_path, launched
from synthetic_runs import make_runs

TURNS = 5
FIRST_PAINT = """new Promise(told => new PerformanceObserver(seen => told(seen.getEntries().at(-1).startTime))
    .observe({type: 'paint', buffered: true}))"""
"""Milliseconds from the navigation to the first contentful paint."""


def serving(root: Path) -> tuple[subprocess.Popen, str, float]:
    """The command over a folder, its address, and the seconds until it was printed."""
    began = time.monotonic()
    words = [sys.executable, "-m", "intaglio", "view", str(root), "--no-open"]
    server = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    return server, server.stdout.readline().strip(), time.monotonic() - began


def answered(address: str, at_most: int | None = None) -> bytes:
    """The list of runs, or its first bytes."""
    base, token = address.split("/?token=")
    asked = urllib.request.Request(base + "/", headers={"Cookie": f"intaglio_{base.rpartition(':')[2]}={token}"})
    with urllib.request.urlopen(asked) as answer:
        return answer.read(at_most)


def first_byte(address: str) -> float:
    """Seconds until the first byte of one answer to the list of runs."""
    began = time.monotonic()
    answered(address, 1)
    return time.monotonic() - began


def until_read(address: str) -> float:
    """Seconds until the list says no more that folders are still being read."""
    began = time.monotonic()
    while b"still being read" in answered(address):
        time.sleep(0.1)
    return time.monotonic() - began


def measured(root: Path) -> dict[str, float]:
    """Median seconds: until the address is printed, of the first answer after it, of later ones, and of paints."""
    server, address, up = serving(root)
    try:
        found = {"up": up, "first answer": first_byte(address)}
        found["all read"] = up + until_read(address)
        found["later answer"] = median(first_byte(address) for _ in range(TURNS))
        if browser_path() is None:
            return found
        with launched() as browser:
            found["first paint"] = median(paint(browser, address) for _ in range(TURNS))
        return found
    finally:
        server.terminate()
        server.wait()


def paint(browser, address: str) -> float:
    """Seconds from the navigation to the first contentful paint of the list, in a browser that has nothing stored."""
    page = browser.new_page()
    page.goto(address)
    page.wait_for_selector("table.runs")
    seconds = page.evaluate(FIRST_PAINT) / 1000
    page.close()
    return seconds


def median(values) -> float:
    return sorted(values)[TURNS // 2]


if __name__ == "__main__":
    for count in map(int, sys.argv[1:] or ("10", "10000")):
        with tempfile.TemporaryDirectory() as folder:
            make_runs(Path(folder), count)
            seconds = {name: round(value, 3) for name, value in measured(Path(folder)).items()}
            sys.stdout.write(json.dumps({"runs": count, **seconds}) + "\n")
