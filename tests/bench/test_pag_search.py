"""The PAG suites of the bench of latent models, end to end on small tables, with their methods in this process."""

import importlib.util
import json
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from intaglio.bench.discover import worker
from intaglio.bench.discover.entries import Entry
from intaglio.bench.discover.processes import WorkerPool
from intaglio.bench.discover.worker import Question
from intaglio.bench.latent import bench as bench_room
from intaglio.bench.latent import pag_entries as entries_room
from intaglio.bench.latent import pag_search as room
from intaglio.bench.latent.bench import LatentBench
from intaglio.bench.latent.pag_entries import PAG_ENTRIES, fci, pag_entries
from intaglio.bench.latent.pag_tables import PagCell, pag_tables
from intaglio.causal.graphs.graph import Graph
from intaglio.commands.kit.source_settings import load
from intaglio.errors import BadInput

SMALL = {"restarts": 1, "stages": 2, "steps": 3, "sweeps": 1}
ABSENT = Entry("fci-0.01", "nowhere:run", {"alpha": 0.01}, needs=("no_such_module_here", "no-such-package"))


@pytest.fixture(autouse=True)
def quiet_generators():
    """The worker seeds the process's generators before each call; here they are put back."""
    kept = random.getstate(), np.random.get_state()
    yield
    random.setstate(kept[0])
    np.random.set_state(kept[1])


@pytest.fixture
def asked(monkeypatch):
    """Questions to a pool that answers in this process; one whose number stands in `dies` raises that."""
    questions: list[tuple[str, float, Any]] = []

    dies: dict[int, BaseException] = {}

    class Pool(WorkerPool):
        def ask(self, entry, table):
            if error := dies.pop(len(questions), None):
                raise error
            questions.append((entry.name, self._limit, entry.settings.get("time_limit")))
            return worker._answer(Question(entry.target, entry.settings, entry.role == "ours", entry.raw, table))

    monkeypatch.setattr(room, "WorkerPool", Pool)
    monkeypatch.setattr(worker, "REPEATS", 1)
    ours = [
        replace(one, settings={**one.settings, **SMALL, **({"half_samples": 0} if one.name == "spot" else {})})
        for one in PAG_ENTRIES
        if one.name in ("spot", "abic")
    ]
    monkeypatch.setattr(entries_room, "PAG_ENTRIES", (*ours, ABSENT))
    return questions, dies


def bench(tmp_path, **settings):
    usual = {"suites": ("simulated",), "variables": (4,), "table_rows": (80,), "confounding": ("double-arrows",)}
    return LatentBench(**{**usual, "graphs": 2, "limit": 20.0, "runs": tmp_path, **settings})


def test_two_tables_are_searched_and_a_missing_peer_is_named(tmp_path, asked):
    questions, _ = asked
    one = bench(tmp_path)
    found = one(progress="none")
    json.dumps(found, allow_nan=False)
    assert questions == [("spot", 90.0, 20.0), ("abic", 90.0, 20.0), ("abic", 90.0, 20.0), ("spot", 90.0, 20.0)], (
        "own methods have the limit as a setting, time beyond it, and take turns"
    )
    assert found["left_out"] == {"fci-0.01": "not installed: pip install no-such-package"}
    assert found["by_variables"]["4"]["tables"] == 2
    assert list(found["by_variables"]["4"]["methods"]) == ["spot", "abic"]
    assert found["by_variables"]["4"]["methods"]["spot"]["failures"] == 0
    assert found["by_variables"]["4"]["posterior"]["cascade"]["pairs"] == 12
    assert found["spot_pag_f1"] == found["spot_pag_f1_d4"]
    assert found["fci_pag_f1"] is None
    assert found["d_max_within_10_min"] == 4
    text = one.summary(found)
    for words in ("simulated, 4 variables, 2 tables", "fci-0.01: not installed", "fci took no part"):
        assert words in text
    again = len(questions)
    assert one(progress="none") == found
    assert len(questions) == again


def test_a_killed_run_asks_only_for_what_is_left(tmp_path, asked, monkeypatch):
    questions, dies = asked
    lines = {"marks": 1 - np.eye(4, dtype=np.int8), "adjacent": None, "times": [1.0], "ood_score": None}
    monkeypatch.setattr(worker, "_answer", lambda question: lines)
    whole = bench(tmp_path / "whole")(progress="none")
    questions.clear()
    dies[2] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        bench(tmp_path / "killed")(progress="none")
    assert [name for name, *_ in questions] == ["spot", "abic"]
    resumed = bench(tmp_path / "killed")(progress="none")
    assert [name for name, *_ in questions] == ["spot", "abic", "abic", "spot"]
    for name in ("spot_pag_f1", "abic_pag_f1", "spot_skeleton_f1"):
        assert resumed[name] == whole[name]


def test_a_method_that_was_late_three_times_is_not_asked_any_more(tmp_path, asked, monkeypatch):
    questions, _ = asked
    late = {"failure": "no answer within 20 s", "timeout": 20.0}
    monkeypatch.setattr(worker, "_answer", lambda question: late)
    one = bench(tmp_path, methods=("abic",), graphs=5)
    found = one(progress="none")
    assert len(questions) == 3
    row = found["by_variables"]["4"]["methods"]["abic"]
    assert (row["tables"], row["failures"], row["pag_f1"], row["seconds"]) == (5, 5, 0.0, 20.0)
    assert found["not_measured"]["spot_pag_f1"].startswith("spot took no part")


def test_each_posterior_is_judged_on_the_pairs_of_the_true_skeleton():
    (task,) = pag_tables([PagCell("simulated", "double-arrows", 5, 200, 1)], 0)
    found = room.posteriors_of(task, ["cascade", "network"])
    assert found["adjacent"] == [float(task.truth.skeleton[i, j]) for i in range(5) for j in range(i + 1, 5)]
    assert found["cascade"] != found["network"]
    assert all(0 <= p <= 1 for name in ("cascade", "network") for p in found[name])


def test_a_size_that_is_named_twice_is_measured_once(tmp_path):
    plan = bench(tmp_path, methods=("spot",), variables=(4, 6, 4))._plan()
    assert [cell.variables for cell in plan.cells] == [4, 6]


def test_runs_without_searches_are_named_by_the_settings_of_before(tmp_path):
    steps = LatentBench(suites=("steps", "changing"), columns=(3,), runs=tmp_path)._plan()
    assert steps.settings() == {"columns": (3,), "rows": 1000, "restarts": 5, "repeats": 20, "tables": 20}
    assert "cells" in LatentBench(methods=("spot",), suites=("simulated",), runs=tmp_path)._plan().settings()


def test_quick_is_small_and_methods_have_names(monkeypatch):
    plan = LatentBench(quick=True)._plan()
    assert {(cell.variables, cell.rows) for cell in plan.cells} == {(10, 1000), (20, 1000)}
    assert sum(cell.tables for cell in plan.cells) == 4
    assert plan.limit == 30.0
    assert [one.name for one in pag_entries((), quick=True)] == ["spot", "abic", "fci-0.01", "fci-0.05"]
    with pytest.raises(BadInput, match="no method of PAGs called 'gfci'"):
        pag_entries(("gfci",), quick=False)
    monkeypatch.setattr(entries_room, "PAG_ENTRIES", (ABSENT,))
    with pytest.raises(BadInput, match="fci-0.01: not installed"):
        LatentBench(suites=("simulated",))(progress="none")
    monkeypatch.undo()
    monkeypatch.setattr(bench_room, "networks_folder", lambda: None)
    only = LatentBench(suites=("networks",), methods=("spot",))._plan()
    assert only.cells == ()
    assert "pip install pgmpy" in only.left_out["networks"]


def test_every_entry_of_ours_can_be_made_with_its_settings():
    for entry in PAG_ENTRIES:
        if entry.role == "ours":
            settings = dict(entry.settings)
            made = load(settings.pop("method"))(**settings, time_limit=1.0)
            assert {name: getattr(made, name) for name in settings} == settings
            assert made.gives == "PAG"


@pytest.mark.parametrize(
    ("setting", "value"), [("variables", (1,)), ("table_rows", (9,)), ("graphs", 0), ("limit", 0.0), ("limit", -1.0)]
)
def test_settings_of_searches_out_of_range_are_refused_by_name(setting, value):
    with pytest.raises(ValueError, match=setting):
        LatentBench(**{setting: value})


@pytest.mark.skipif(importlib.util.find_spec("causallearn") is None, reason="causal-learn is not installed")
def test_fci_of_causal_learn_finds_a_hidden_common_cause():
    draw = np.random.default_rng(0).standard_normal
    a, b, hidden = draw((3, 5000))
    values = np.stack([a, b, a + hidden + draw(5000), b + hidden + draw(5000)], 1)
    marks = fci(values, False, 0.01)
    wanted = [("a", "o->", "c"), ("b", "o->", "d"), ("c", "<->", "d")]
    assert Graph("PAG", ("a", "b", "c", "d"), marks) == Graph.of("PAG", ("a", "b", "c", "d"), wanted)
