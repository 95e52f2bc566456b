"""What holds for every test: types and shapes are checked, nothing reaches the network, methods keep their budgets."""

import functools
import gc
import os
import socket
import time
from collections import Counter
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two processes of tests share two cores; children inherit it
# Else each of thousands of silenced calls changes a level of logging, there and back.
os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import pytest
from hypothesis import HealthCheck, settings
from tyro._docstrings import _ClassTokenization as Tokens

from budget import OWN_CPU_S, affordable
from type_checks import check_types

# Imports make millions of objects that stay, which the collector would pass over twenty times while they are made.
gc.set_threshold(50_000, 50, 50)
check_types("intaglio")
# A command reads the source of its settings for their docstrings, a third of the time of one that is refused.
Tokens.make = staticmethod(functools.cache(Tokens.make))
# No test cuts the power, and a disk that is waited for takes a twentieth of the time.
os.fsync = lambda descriptor: None
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

SPENT: Counter[str] = Counter()
"""Processor seconds by row of the matrix."""


def pytest_collection_finish():
    """Take what is imported by now out of the collector's sight, whose full passes over it are a tenth of all time."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items):
    """Keep together, in one process, what shares results: the tests of a row of the matrix, or else of a file."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_row(item) or item.path.name))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item, nextitem):
    began = time.process_time()
    try:
        return (yield)
    finally:
        if row := _row(item):
            SPENT[row] += time.process_time() - began


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    began = time.process_time()
    result = yield
    spent = time.process_time() - began
    if _own(item) and spent > OWN_CPU_S and spent > affordable(OWN_CPU_S):
        pytest.fail(f"{spent:.1f} s of the processor; a test of one method may take {OWN_CPU_S:g}", pytrace=False)
    return result


@pytest.fixture
def spent(request):
    """Processor seconds of the tests of this row of the matrix so far."""
    return SPENT[_row(request.node)]


def _row(item) -> str:
    """The row of the matrix that a test belongs to; empty: none."""
    return item.callspec.params["row"].key if item.path.name == "test_matrix.py" else ""


def _own(item) -> bool:
    """Whether a test is a method's own, and not one that is known to be slow."""
    return "methods" in Path(item.path).parts[-2:-1] and not _row(item) and not item.get_closest_marker("slow")


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    """A connection to anywhere, this machine included, or a look-up of a name, fails the test."""

    def refused(*args, **kwargs):
        raise AssertionError(f"the network is out of bounds: {args[1:] or args}")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket.socket, "connect_ex", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    monkeypatch.setattr(socket, "create_connection", refused)
