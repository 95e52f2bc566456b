"""The searches of the PAG suites of `intaglio bench latent`: every method on every table, in processes of their own."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from intaglio.bench.discover.entries import Entry
from intaglio.bench.discover.processes import MAX_TIMEOUTS, TimeoutPolicy, WorkerPool
from intaglio.bench.latent.pag_entries import SKELETON_ONLY
from intaglio.bench.latent.pag_scores import pag_scores
from intaglio.bench.latent.pag_tables import PagCell, PagTable, pag_tables
from intaglio.causal.methods.spot.correlations import Correlations
from intaglio.causal.methods.spot.posterior_choice import chosen_posterior
from intaglio.runs.run import Run
from intaglio.runs.tables import without_nan

GRACE, GRACE_S = 1.5, 60.0
"""Own methods end by themselves at the limit, with what they have; they are killed after this many times as long and
these many seconds."""


def search_tables(run: Run, cells: Sequence[PagCell], entries: Sequence[Entry], limit: float, seed: int) -> None:
    """Records of each table its facts, the skeleton posterior, and the answer of each method.

    Methods take turns at running first. What is recorded already is not done again.

    Args:
        run: takes the records `table`, `posterior` and `answer`.
        cells: kinds of tables.
        entries: methods; one that was killed at the limit three times is not asked about as many variables any more.
        limit: seconds for one table. Own methods take it as their `time_limit`.
        seed: seed of the tables.
    """
    known, judged = run.recorded("answer"), run.recorded("posterior")
    entries = [_limited(entry, limit) for entry in entries]
    posteriors = [entry.posterior for entry in entries if entry.posterior]
    timeouts, total = TimeoutPolicy(), sum(cell.tables for cell in cells) * len(entries)
    with (
        run.progress(total, "answers", len(known)) as progress,
        WorkerPool(limit) as peers,
        WorkerPool(GRACE * limit + GRACE_S) as ours,
    ):
        for turn, task in enumerate(pag_tables(cells, seed)):
            run.record("table", task.key, table_facts(task))
            if posteriors and task.key not in judged:
                run.record("posterior", task.key, posteriors_of(task, posteriors))
            first = turn % len(entries)
            for entry in (*entries[first:], *entries[:first]):
                key = f"{task.key} | {entry.name}"
                if (answer := known.get(key)) is None:
                    answer = _answer(ours if _own(entry) else peers, entry, task, timeouts, limit)
                    run.record("answer", key, answer)
                    progress.advance()
                timeouts.note(task.cell.suite, entry.name, task.cell.variables, answer)


def answers_of(run: Run, entries: Sequence[Entry]) -> dict[str, dict[str, Any]]:
    """The recorded answers by table and method, methods in the order of the entries."""
    found, recorded = {}, run.recorded("answer")
    for table in run.recorded("table"):
        keys = {entry.name: f"{table} | {entry.name}" for entry in entries}
        found[table] = {name: recorded[key] for name, key in keys.items() if key in recorded}
    return found


def _own(entry: Entry) -> bool:
    return entry.role == "ours"


def _limited(entry: Entry, limit: float) -> Entry:
    """The entry with the limit as its setting, where it has one."""
    return replace(entry, settings={**entry.settings, "time_limit": limit}) if _own(entry) else entry


def _answer(pool: WorkerPool, entry: Entry, task: PagTable, timeouts: TimeoutPolicy, limit: float) -> Mapping[str, Any]:
    """Scores and seconds of a method's answer; or `failure` with the reason."""
    if timeouts.exhausted(task.cell.suite, entry.name, task.cell.variables):
        return {"failure": f"not asked: {MAX_TIMEOUTS} answers too late before", "timeout": limit}
    answer = pool.ask(entry, task.table)
    if "failure" in answer:
        return answer
    times = sorted(answer["times"])
    return without_nan(
        pag_scores(task.truth, answer["marks"], entry.name in SKELETON_ONLY) | {"seconds": times[len(times) // 2]}
    )


def table_facts(task: PagTable) -> dict[str, Any]:
    """The facts of a table that figures are grouped by; the variables are those that are seen."""
    cell = task.cell
    about = {"cell": cell.key, "suite": cell.suite, "source": cell.source, "rows": cell.rows}
    return {**about, "variables": len(task.truth), "edges": len(task.truth.edges)}


def posteriors_of(task: PagTable, names: Sequence[str]) -> dict[str, list[float]]:
    """Posteriors of all pairs by name, and whether they are `adjacent`, in the order of `numpy.triu_indices(d, 1)`."""
    above = np.triu_indices(len(task.truth), 1)
    correlations = Correlations.of_rows(task.table.values, task.table.names)
    found = {"adjacent": task.truth.skeleton[above].astype(float).tolist()}
    for name in names:
        estimator = chosen_posterior(name, hidden_causes=True, device="cpu")
        found[name] = estimator(correlations, 0, task.table.values).posterior[above].round(6).tolist()
    return found
