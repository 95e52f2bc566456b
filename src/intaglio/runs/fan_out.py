"""Independent pieces of work, spread over processes, or over a cluster."""

import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, TypeVar

import joblib

from intaglio.errors import IntaglioError
from intaglio.runs.cluster import joined

J = TypeVar("J")
R = TypeVar("R")

# Loky ends a worker that has grown and starts another, which changes nothing for whoever waits for results.
warnings.filterwarnings("ignore", "A worker stopped while some jobs were given to the executor", UserWarning)

WATCH_S = 1.0
"""Seconds between two checks by a worker that its parent still lives."""


def fan_out(work: Callable[[J], R], jobs: Sequence[J], workers: int = 1) -> Iterator[tuple[J, R]]:
    """(job, result) of every job, as they are done; with more than one worker in no fixed order.

    `work` and the jobs are pickled for the worker processes, which share the cores' threads evenly and end with this
    one, however it ends. One worker is this very process. Inside `on_cluster` they are the cluster's, where a piece
    whose worker was killed is done again. An error in one job ends the others and is raised here, with what was done
    already given.

    Raises:
        ValueError: fewer than one worker.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1, not {workers}")
    if workers == 1:
        yield from ((job, work(job)) for job in jobs)
        return
    if (cluster := joined()) is not None:
        yield from cluster.results(work, jobs, workers)
        return
    # Any: joblib says that batch_size is a text, and nothing of what the generator gives.
    spread: Any = joblib.Parallel(n_jobs=workers, return_as="generator_unordered", batch_size=1)  # type: ignore[arg-type]
    try:
        yield from spread(joblib.delayed(_labelled)(work, job) for job in jobs)
    except BrokenProcessPool as error:  # loky's own kinds are kinds of it
        raise IntaglioError(
            "a worker process was killed, by the system for want of memory or by someone; fewer workers need less "
            "memory, and the same command goes on from where it was"
        ) from error


def fan_out_in_order(work: Callable[[J], R], jobs: Sequence[J], workers: int = 1) -> Iterator[tuple[J, R]]:
    """(job, result) as of `fan_out`, in the order of the jobs: a result waits for those before it."""
    waiting, given = dict[int, R](), 0
    for (place, _), result in fan_out(_Numbered(work), list(enumerate(jobs)), workers):
        waiting[place] = result
        while given in waiting:
            yield jobs[given], waiting.pop(given)
            given += 1


@dataclass(frozen=True)
class _Numbered(Generic[J, R]):
    """Does a job that comes with its place."""

    work: Callable[[J], R]

    def __call__(self, numbered: tuple[int, J]) -> R:
        return self.work(numbered[1])


def workers_for(device: str) -> int:
    """A worker a core on the CPU, where one thread each is the most that many small networks gain; else one.

    Inside `on_cluster`, those of the cluster.
    """
    if (cluster := joined()) is not None:
        return cluster.workers
    return joblib.cpu_count(only_physical_cores=True) if device == "cpu" else 1


def workers_of_cluster() -> int:
    """Those of the cluster inside `on_cluster`, else 1: for work that one process does in order."""
    cluster = joined()
    return 1 if cluster is None else cluster.workers


def _labelled(work: Callable[[J], R], job: J) -> tuple[J, R]:
    end_with_parent()
    return job, work(job)


@cache
def end_with_parent() -> None:
    """From now on this process ends when its parent does: a killed parent cannot tell its workers to stop."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
