"""A process in which methods answer, on one thread, unheard: packages print, warn, seed and change torch's defaults.

Nothing heavy is imported before the number of threads is set.
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
    from intaglio.bench.discover.suites import Sheet

THREADS = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB")
BRIEF_S, REPEATS = 0.5, 3
"""An answer that took less is timed again, so often in all, and the median counts."""
LETTERS = 300


@dataclass(frozen=True)
class Question:
    """What a worker is asked."""

    target: str
    settings: Mapping[str, Any]
    ours: bool
    raw: bool
    sheet: "Sheet"


def serve(connection: Connection) -> None:
    """Answers questions until the other end is closed: a mapping with `marks`, `adjacent` and `times`, or `failure`."""
    os.environ.update({f"{library}_NUM_THREADS": "1" for library in THREADS})
    _hush()
    from intaglio.runs.fan_out import end_with_parent

    end_with_parent()
    while True:
        try:
            question = connection.recv()
        except EOFError:
            return
        connection.send(_answer(question))


def _hush() -> None:
    """Nothing that is written to the standard streams or logged from here on is seen, whoever writes it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    logging.disable()
    warnings.simplefilter("ignore")


def _answer(question: Question) -> dict[str, Any]:
    try:
        module, _, name = question.target.partition(":")
        function = partial(getattr(importlib.import_module(module), name), **question.settings)
        return (_asked_of_ours if question.ours else _asked)(function, question)
    except Exception as error:
        return {"failure": f"{type(error).__name__}: {error}"[:LETTERS]}


def _asked(function: Any, question: Question) -> dict[str, Any]:
    """Columns that do not vary are kept from the method, which need not know about them, and stand alone."""
    import numpy as np

    sheet = question.sheet
    values = sheet.values * sheet.spread if question.raw else sheet.values
    varying = np.flatnonzero(values.min(0) < values.max(0))
    marks = np.zeros((len(sheet.names),) * 2, np.int8)
    times = [0.0]
    if len(varying) > 1:
        part = np.ascontiguousarray(values[:, varying])
        marks[np.ix_(varying, varying)], times = _timed(lambda: function(part.copy(), sheet.discrete))
    return {"marks": marks, "adjacent": None, "times": times}


def _asked_of_ours(function: Any, question: Question) -> dict[str, Any]:
    import numpy as np
    import pandas as pd

    sheet = question.sheet
    levels = [len(np.unique(column)) if sheet.discrete else 0 for column in sheet.values.T]
    values = sheet.values.astype(np.int64) if sheet.discrete else sheet.values
    frame = pd.DataFrame(values, columns=list(sheet.names))
    kinds = {n: "binary" if k == 2 else "nominal" for n, k in zip(sheet.names, levels, strict=True) if k > 1}
    found, times = _timed(lambda: function(frame, kinds))
    adjacent = None if found.adjacent is None else np.asarray(found.adjacent, np.float64)
    return {"marks": np.array(found.graph.reordered(sheet.names).marks), "adjacent": adjacent, "times": times}


def _timed(call: Any) -> tuple[Any, list[float]]:
    """The first answer, and the seconds of each."""
    times: list[float] = []
    found = None
    while not times or (len(times) < REPEATS and statistics.median(times) < BRIEF_S):
        _draw_alike()
        began = time.perf_counter()
        again = call()
        times.append(time.perf_counter() - began)
        found = again if found is None else found
    return found, times


def _draw_alike() -> None:
    """Packages draw from the process's own generators (BOSS shuffles); each call begins with the same ones."""
    import numpy as np

    random.setstate(random.Random(0).getstate())
    np.random.set_state(np.random.RandomState(0).get_state())
