"""Progress on a terminal, in a log, and nowhere."""

import io
import json
import sys

import pytest

from intaglio.runs import progress
from intaglio.runs.progress import showing


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_elsewhere_lines_are_text(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with showing(40, "train", 10, "auto") as bar:
        for _ in range(30):
            clock[0] += 1
            bar.advance(1, gradient_norm=0.5)
    progress.tell("warning", "mind the \x1b gap", "auto")
    assert stream.getvalue().splitlines() == [
        "train 10 of 40, 0 s",
        "train 20 of 40, 10 s, 20 s left, gradient norm 0.5",
        "train 30 of 40, 20 s, 10 s left, gradient norm 0.5",
        "train 40 of 40, 30 s, gradient norm 0.5",
        "warning: mind the \\x1b gap",
    ]


def test_lines_are_throttled_and_the_last_is_told(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with showing(40, "train", 10, "json") as bar:
        for _ in range(30):
            clock[0] += 1
            bar.advance(1, loss=0.5)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["done"] for line in lines] == [10, 20, 30, 40]
    assert [line["seconds_left"] for line in lines] == [None, 20.0, 10.0, 0.0]
    assert lines[1]["loss"] == 0.5
    assert all((line["event"], line["label"], line["total"]) == ("progress", "train", 40) for line in lines)


def test_bar_on_a_terminal(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with showing(4, "train", 1, "auto") as bar:
        bar.advance(3, loss=0.25)
    assert "train" in sys.stderr.getvalue()
    assert "4/4" in sys.stderr.getvalue()


def test_nothing_when_quiet(monkeypatch):
    for stream in (io.StringIO(), Terminal()):
        monkeypatch.setattr(sys, "stderr", stream)
        with showing(4, "train", 1, "none") as bar:
            bar.advance(3)
        progress.tell("warning", "x", "none")
        assert stream.getvalue() == ""


def test_error_passes_through(monkeypatch):
    for stream in (io.StringIO(), Terminal()):
        monkeypatch.setattr(sys, "stderr", stream)
        with pytest.raises(KeyboardInterrupt), showing(4, "train", 0, "auto"):
            raise KeyboardInterrupt
