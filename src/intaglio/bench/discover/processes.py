"""Worker processes that methods run in: one per package, one table at a time, killed at the time limit."""

import multiprocessing
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

import numpy as np

from intaglio.bench.discover.entries import Entry
from intaglio.bench.discover.suites import BenchTable
from intaglio.bench.discover.worker import Question, serve

WARM_UP_S = 120.0
"""Time limit for imports and the warm-up table, which are not measured."""
END_S = 5.0
"""Time to wait for a killed process."""
MAX_TIMEOUTS = 3
"""Timeouts, on as many columns or fewer, after which a method is not run any more."""


@dataclass(eq=False)
class Worker:
    """One process, and the (entry, discrete) pairs that it has been warmed up for."""

    process: BaseProcess
    connection: Connection
    warm: set[tuple[str, bool]] = field(default_factory=set)

    @classmethod
    def start(cls) -> "Worker":
        """Starts a process; spawned, since a forked one would share threads and torch's defaults with this one."""
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        process = context.Process(target=serve, args=(there,), daemon=True)
        process.start()
        there.close()
        return cls(process, here)

    def end(self) -> None:
        """Kills the process."""
        self.connection.close()
        self.process.kill()
        self.process.join(END_S)


class WorkerPool:
    """Runs methods in worker processes within a limit of seconds; a context manager, which ends the processes."""

    def __init__(self, limit: float):
        self._limit = limit
        self._workers: dict[str, Worker] = {}

    def __enter__(self) -> "WorkerPool":
        return self

    def __exit__(self, *error: Any) -> None:
        for worker in self._workers.values():
            worker.end()
        self._workers.clear()

    def ask(self, entry: Entry, table: BenchTable) -> dict[str, Any]:
        """A method's answer for a table: `marks`, `adjacent` or None, `times` in seconds; or `failure`, a reason."""
        worker = self._workers.get(entry.process)
        if worker is None:
            worker = self._workers[entry.process] = Worker.start()
        if (key := (entry.name, table.discrete)) not in worker.warm:
            # A failure on the warm-up table is not counted.
            answer = self._answer(entry, worker, warm_up_table(table.discrete), WARM_UP_S)
            if entry.process not in self._workers:
                return answer
            worker.warm.add(key)
        return self._answer(entry, worker, table, self._limit)

    def _answer(self, entry: Entry, worker: Worker, table: BenchTable, limit: float) -> dict[str, Any]:
        """The worker's answer; a worker that exceeds the limit or dies is removed."""
        question = Question(entry.target, dict(entry.settings), entry.role == "ours", entry.raw, table)
        try:
            worker.connection.send(question)
            if worker.connection.poll(limit):
                return worker.connection.recv()
            failure = {"failure": f"no answer within {limit:g} s", "timeout": limit}
        except (EOFError, OSError):
            failure = {"failure": "its process died"}
        self._workers.pop(entry.process).end()
        return failure


class TimeoutPolicy:
    """Decides by suite which methods have timed out too often to be run on further tables."""

    def __init__(self):
        self._late: dict[tuple[str, str], list[int]] = {}
        self._in_time: dict[tuple[str, str], list[int]] = {}

    def note(self, suite: str, name: str, variables: int, answer: Mapping[str, Any]) -> None:
        """Takes in whether an answer came in time; other failures say nothing of speed."""
        if "timeout" in answer or "failure" not in answer:
            kept = self._late if "timeout" in answer else self._in_time
            kept.setdefault((suite, name), []).append(variables)

    def exhausted(self, suite: str, name: str, variables: int) -> bool:
        """Whether a method had `MAX_TIMEOUTS` timeouts on no more columns, and no answer in time on as many or more."""
        late = [d for d in self._late.get((suite, name), []) if d <= variables]
        return len(late) >= MAX_TIMEOUTS and not any(d >= variables for d in self._in_time.get((suite, name), []))


def warm_up_table(discrete: bool) -> BenchTable:
    """A table of three columns and fifty rows, for the first call of a method in a process."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((50, 3))
    values[:, 2] += values[:, 0]
    return BenchTable(("a", "b", "c"), (values > 0).astype(np.float64) if discrete else values, discrete, np.ones(3))
