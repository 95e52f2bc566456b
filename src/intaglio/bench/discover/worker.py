"""The worker process of the bench: runs methods on one thread, with output, warnings and logging silenced.

It is a process of its own since packages print, warn, seed global generators and change torch's defaults. Nothing heavy
is imported before the number of threads is set.
"""

import importlib
import logging
import os
import random
import statistics
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy import ndarray

    from intaglio.bench.discover.suites import BenchTable

THREAD_VARIABLES = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB")
BRIEF_S, REPEATS = 0.5, 3
"""Calls shorter than this many seconds are repeated, three in all, and their median counts."""
FAILURE_LETTERS = 300
"""Length of a recorded error message."""


@dataclass(frozen=True)
class Question:
    """A method, its settings and the table to run it on."""

    target: str
    """`module:function`, see `Entry.target`."""
    settings: Mapping[str, Any]
    own: bool
    """The function is an own method's: it takes a frame and kinds."""
    raw: bool
    """Numbers are given on their original scales."""
    table: "BenchTable"


def serve(connection: Connection) -> None:
    """Answers each `Question` by `marks`, `adjacent`, `times`, `ood_score`, or by `failure`, until the pipe closes."""
    os.environ.update({f"{library}_NUM_THREADS": "1" for library in THREAD_VARIABLES})
    _silence()
    from intaglio.runs.fan_out import end_with_parent

    end_with_parent()
    while True:
        try:
            question = connection.recv()
        except EOFError:
            return
        connection.send(_answer(question))


def _silence() -> None:
    """Discards what is written to the standard streams, logged or warned from here on, also by compiled code."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    logging.disable()
    warnings.simplefilter("ignore")


def _answer(question: Question) -> dict[str, Any]:
    try:
        module, _, name = question.target.partition(":")
        function = partial(getattr(importlib.import_module(module), name), **question.settings)
        return (_ask_own if question.own else _ask_peer)(function, question)
    except Exception as error:
        return {"failure": f"{type(error).__name__}: {error}"[:FAILURE_LETTERS]}


def _ask_peer(function: Any, question: Question) -> dict[str, Any]:
    """Runs another package's method on the columns that vary; constant ones get no edges."""
    import numpy as np

    table = question.table
    values = _whole_rows(table, question.raw)
    varying = np.flatnonzero(values.min(0) < values.max(0))
    marks = np.zeros((len(table.names),) * 2, np.int8)
    times = [0.0]
    if len(varying) > 1:
        part = np.ascontiguousarray(values[:, varying])
        marks[np.ix_(varying, varying)], times = _timed(lambda: function(part.copy(), table.discrete))
    return {"marks": marks, "adjacent": None, "times": times}


def _whole_rows(table: "BenchTable", raw: bool) -> "ndarray":
    """The rows without gaps as a matrix of numbers, standardised but for `raw` entries; levels are codes."""
    import numpy as np

    from intaglio.causal.simulate.mechanisms import standardised

    values = table.values[~np.isnan(table.values).any(1)]
    if len(values) < 2:
        raise ValueError(f"{len(values)} rows have no gap")
    if raw:
        return values * table.spread
    return values if table.kinds is None else standardised(values.T).T


def _ask_own(function: Any, question: Question) -> dict[str, Any]:
    """Runs an own method on a frame, with the kinds of columns that hold levels."""
    import numpy as np
    import pandas as pd

    table = question.table
    values = table.values.astype(np.int64) if table.discrete else table.values
    frame = pd.DataFrame(values, columns=list(table.names))
    kinds = _kinds(table) if table.kinds is None else dict(table.kinds)
    found, times = _timed(lambda: function(frame, kinds))
    adjacent = None if found.adjacent is None else np.asarray(found.adjacent, np.float64)
    return {
        "marks": np.array(found.graph.reordered(table.names).marks),
        "adjacent": adjacent,
        "times": times,
        "ood_score": getattr(found, "ood_score", None),
    }


def _kinds(table: "BenchTable") -> dict[str, str]:
    """Kinds of the columns of a table of levels, which vary; none of one of numbers."""
    import numpy as np

    levels = [len(np.unique(column)) if table.discrete else 0 for column in table.values.T]
    return {n: "binary" if k == 2 else "nominal" for n, k in zip(table.names, levels, strict=True) if k > 1}


def _timed(call: Any) -> tuple[Any, list[float]]:
    """The first call's result, and the seconds of each call."""
    times: list[float] = []
    found = None
    while not times or (len(times) < REPEATS and statistics.median(times) < BRIEF_S):
        _reset_generators()
        began = time.perf_counter()
        again = call()
        times.append(time.perf_counter() - began)
        found = again if found is None else found
    return found, times


def _reset_generators() -> None:
    """Seeds the process's global generators alike before each call, as packages draw from them (BOSS shuffles)."""
    import numpy as np

    random.setstate(random.Random(0).getstate())
    np.random.set_state(np.random.RandomState(0).get_state())
