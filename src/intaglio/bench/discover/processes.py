"""The processes that methods answer in: one a package, asked one question at a time, ended where time is up."""

import multiprocessing
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

import numpy as np

from intaglio.bench.discover.contenders import Contender
from intaglio.bench.discover.suites import Sheet
from intaglio.bench.discover.worker import Question, serve

WARM_S = 120.0
"""For imports and a first, tiny table, which no time is counted for."""
GONE_S = 5.0
ENOUGH = 3
"""Answers too late, at as many columns or fewer, after which a method is asked no more."""


@dataclass(eq=False)
class Worker:
    """One process and what it has been warmed for."""

    process: BaseProcess
    connection: Connection
    warm: set[tuple[str, bool]] = field(default_factory=set)

    @classmethod
    def start(cls) -> "Worker":
        """A fresh process: forked ones would share threads and torch's defaults with this one."""
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs,), daemon=True)
        process.start()
        theirs.close()
        return cls(process, ours)

    def end(self) -> None:
        """Ends it, whatever it is doing."""
        self.connection.close()
        self.process.kill()
        self.process.join(GONE_S)


class Crew:
    """Answers of methods, each within a limit of seconds. Use it in a `with` block, which ends its processes."""

    def __init__(self, limit: float):
        self._limit = limit
        self._workers: dict[str, Worker] = {}

    def __enter__(self) -> "Crew":
        return self

    def __exit__(self, *error: Any) -> None:
        for worker in self._workers.values():
            worker.end()
        self._workers.clear()

    def ask(self, contender: Contender, sheet: Sheet) -> dict[str, Any]:
        """What the method says of a table: `marks`, `adjacent` (or None) and `times`; or `failure`, a reason."""
        worker = self._workers.get(contender.process)
        if worker is None:
            worker = self._workers[contender.process] = Worker.start()
        if (key := (contender.name, sheet.discrete)) not in worker.warm:
            # A failure on the tiny table is none: what counts is the answer to the real one.
            said = self._said(contender, worker, tiny(sheet.discrete), WARM_S)
            if contender.process not in self._workers:
                return said
            worker.warm.add(key)
        return self._said(contender, worker, sheet, self._limit)

    def _said(self, contender: Contender, worker: Worker, sheet: Sheet, limit: float) -> dict[str, Any]:
        """The worker's answer; a worker that gives none in time, or dies, is ended."""
        ours = contender.role == "ours"
        question = Question(contender.target, dict(contender.settings), ours, contender.raw, sheet)
        try:
            worker.connection.send(question)
            if worker.connection.poll(limit):
                return worker.connection.recv()
            failure = {"failure": f"no answer within {limit:g} s", "timeout": limit}
        except (EOFError, OSError):
            failure = {"failure": "its process died"}
        self._workers.pop(contender.process).end()
        return failure


class Patience:
    """Which methods are too slow to be asked again, suite by suite."""

    def __init__(self):
        self._late: dict[tuple[str, str], list[int]] = {}
        self._given: dict[tuple[str, str], list[int]] = {}

    def note(self, suite: str, name: str, variables: int, answer: Mapping[str, Any]) -> None:
        """Remembers whether an answer came in time; other failures tell nothing of speed."""
        if "timeout" in answer or "failure" not in answer:
            kept = self._late if "timeout" in answer else self._given
            kept.setdefault((suite, name), []).append(variables)

    def spent(self, suite: str, name: str, variables: int) -> bool:
        """Late on `ENOUGH` tables of so many columns or fewer, and in time on none of so many or more."""
        late = [d for d in self._late.get((suite, name), []) if d <= variables]
        return len(late) >= ENOUGH and not any(d >= variables for d in self._given.get((suite, name), []))


def tiny(discrete: bool) -> Sheet:
    """A table of three columns and fifty rows, which any method answers at once."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((50, 3))
    values[:, 2] += values[:, 0]
    return Sheet(("a", "b", "c"), (values > 0).astype(np.float64) if discrete else values, discrete, np.ones(3))
