"""Fake methods for tests of the discovery bench; its worker processes import this file."""

import os
import sys
import threading
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from intaglio.causal.graphs.graph import Graph


def nothing(values, discrete):
    return np.zeros((values.shape[1],) * 2, np.int8)


def everything(values, discrete):
    d = values.shape[1]
    return (3 * (1 - np.eye(d))).astype(np.int8)


def broken(values, discrete):
    raise RuntimeError("no such luck")


def sleeping(values, discrete, asleep):
    """Answers a tiny table; at any other it makes the file `asleep`, and never answers."""
    if len(values) > 50:
        Path(asleep).touch()
        threading.Event().wait()
    return nothing(values, discrete)


def dying(values, discrete):
    os._exit(3)


def loud(values, discrete):
    sys.stdout.write("HERE I AM\n")
    os.write(2, b"AND HERE\n")
    sys.stdout.flush()
    warnings.warn("BEWARE", stacklevel=1)
    return nothing(values, discrete)


def drawing(values, discrete):
    """Edges at random, from the generators of the process."""
    import random

    d = values.shape[1]
    made = np.triu(np.random.random((d, d)) < random.random(), 1)
    return (3 * (made | made.T)).astype(np.int8)


def threads(values, discrete):
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return np.full((values.shape[1],) * 2, 3 if all(os.environ[name] == "1" for name in names) else 0, np.int8)


def columns(values, discrete):
    """Joins all columns it is shown; refuses one that does not vary."""
    if (values.std(0) == 0).any():
        raise ValueError("a column does not vary")
    return everything(values, discrete)


def ours(frame, kinds, sure):
    """Joins the first two columns; `sure` of every pair."""
    names = tuple(frame.columns)
    graph = Graph.of("CPDAG", names[::-1], [(names[0], "---", names[1])])
    adjacent = np.full((len(names),) * 2, sure)
    return SimpleNamespace(graph=graph, adjacent=adjacent)


def kinds_seen(frame, kinds, wanted):
    if dict(kinds) != dict(wanted):
        raise ValueError(f"{kinds} are not {wanted}")
    return SimpleNamespace(graph=Graph.of("CPDAG", tuple(frame.columns)), adjacent=None)
