"""The bench of discovery methods, end to end with fake methods, and its figures computed by hand."""

import json
from multiprocessing.connection import Connection

import numpy as np
import pandas as pd
import pytest

from intaglio.bench.discover import bench as bench_module
from intaglio.bench.discover import entries
from intaglio.bench.discover.bench import DiscoverBench
from intaglio.bench.discover.entries import ENTRIES, Entry, select
from intaglio.bench.discover.figures import best_peer, figures
from intaglio.bench.discover.processes import TimeoutPolicy, WorkerPool
from intaglio.bench.discover.published_networks import networks_folder
from intaglio.bench.discover.ranks import margin, mean_and_error, mean_ranks, table_ranks
from intaglio.bench.discover.scores import binned, calibration_error, scored
from intaglio.bench.discover.suites import BenchTable
from intaglio.causal.graphs.distances import compare
from intaglio.causal.graphs.graph import Graph
from intaglio.causal.graphs.marks import Mark
from intaglio.causal.methods.sicl.method import SiCL
from intaglio.commands.kit.source_settings import load
from intaglio.errors import BadInput
from intaglio.verbs import VERBS

WANTED = {
    "sicl_mean_rank",
    "best_peer_mean_rank",
    "sicl_skeleton_f1",
    "best_peer_skeleton_f1",
    "node_edge_skeleton_f1",
    "seconds_d20",
    "speed_ratio_vs_pc_d50",
    "sicl_orientation_f1",
    "node_edge_orientation_f1",
    "sicl_shd",
    "best_peer",
    "ece",
    "machine",
    "versions",
    "failures",
    "cells",
}


def fake(name, function, role="peer", process="fakes", settings=None, **about):
    needs = ("numpy", "numpy")
    return Entry(name, f"discover_fakes:{function}", settings or {}, role, process, needs, **about)


OURS = fake("sicl", "ours", "ours", "ours", {"sure": 0.25})
NODE_EDGE = fake("node-edge", "ours", "ours", "ours", {"sure": 1.0})
NOTHING, EVERYTHING = fake("nothing", "nothing"), fake("everything", "everything")


def bench_table(n=60, d=3, discrete=False, seed=0):
    values = np.random.default_rng(seed).standard_normal((n, d))
    names = tuple(f"x{k}" for k in range(d))
    return BenchTable(names, (values > 0).astype(float) if discrete else values, discrete, np.arange(1.0, d + 1))


@pytest.fixture(autouse=True)
def asleep(tmp_path, monkeypatch):
    """Time is up once a method has made this file, and never before, however busy the machine is."""
    file, arrived = tmp_path / "asleep", Connection.poll

    def poll(self, limit):
        while not arrived(self, 0.02):
            if file.exists():
                file.unlink()
                return False
        return True

    monkeypatch.setattr(Connection, "poll", poll)
    return file


@pytest.fixture
def bench(tmp_path, monkeypatch):
    def make(*entries, **settings):
        monkeypatch.setattr(bench_module, "select", lambda names, quick: entries)
        usual = {"suites": ("simulated",), "families": ("er", "ws"), "mechanisms": ("linear",), "variables": (6,)}
        return DiscoverBench(**{**usual, "rows": (60,), "graphs": 1, "runs": tmp_path / "runs", **settings})

    return make


def test_every_figure_is_there_and_those_who_fail_are_counted_and_come_last(bench, asleep):
    slow = fake("slow", "sleeping", process="slow", settings={"asleep": str(asleep)})
    mortal = fake("mortal", "dying", process="mortal")
    absent = Entry("absent", "nowhere:run", needs=("no_such_module_here", "no-such-package"))
    measured = bench(OURS, NODE_EDGE, NOTHING, EVERYTHING, fake("broken", "broken"), slow, mortal, absent, limit=1.0)
    found = measured(progress="none")
    assert found.keys() >= WANTED
    json.dumps(found, allow_nan=False)
    rows = found["methods"]
    assert {name: row["failures"] for name, row in rows.items()} == {
        "sicl": 0,
        "node-edge": 0,
        "nothing": 0,
        "everything": 0,
        "broken": 2,
        "slow": 2,
        "mortal": 2,
    }
    assert [rows[name]["mean_rank"] for name in ("broken", "slow", "mortal")] == [6.0, 6.0, 6.0]
    assert found["failures"] == 6
    assert found["left_out"] == {"absent": "not installed: pip install no-such-package"}
    assert found["best_peer"] in ("nothing", "everything")
    assert found["best_peer_skeleton_f1"] == rows[found["best_peer"]]["skeleton_f1"]
    assert set(found["suites"]) == {"simulated, seen", "simulated, unseen"}
    assert found["cells"]["simulated ws linear d6 n60"]["seen"] is False
    text = measured.summary(found)
    assert "absent: not installed: pip install no-such-package" in text
    assert "simulated er linear d6 n60" in text


def test_the_calibration_error_is_of_seen_families_alone(bench):
    found = bench(OURS, NODE_EDGE, families=("er", "ws"))(progress="none")
    edges = found["cells"]["simulated er linear d6 n60"]["edges"]
    assert found["ece"] == pytest.approx(abs(0.25 - edges / 15))
    assert found["calibration_errors"]["node-edge"] == pytest.approx(1 - edges / 15)


def test_a_killed_run_goes_on_where_it_was(bench, monkeypatch):
    asked, ask = [], WorkerPool.ask

    def counted(self, entry, table):
        if len(asked) == 3:
            raise KeyboardInterrupt
        asked.append((entry.name, table.values.tobytes()))
        return ask(self, entry, table)

    measured = bench(NOTHING, EVERYTHING)
    with monkeypatch.context() as patch:
        patch.setattr(WorkerPool, "ask", counted)
        with pytest.raises(KeyboardInterrupt):
            measured(progress="none")
    again = []
    monkeypatch.setattr(
        WorkerPool, "ask", lambda self, c, t: again.append((c.name, t.values.tobytes())) or ask(self, c, t)
    )
    found = measured(progress="none")
    assert len(again) == 1
    assert again[0] not in asked
    assert {name: row["tables"] for name, row in found["methods"].items()} == {"nothing": 2, "everything": 2}
    assert measured(progress="none") == found
    assert len(again) == 1


def test_methods_take_turns_at_being_first(bench, monkeypatch):
    order = []
    monkeypatch.setattr(WorkerPool, "ask", lambda self, c, t: order.append(c.name) or {"failure": "-"})
    bench(NOTHING, EVERYTHING)(progress="none")
    assert order == ["nothing", "everything", "everything", "nothing"]


def test_a_method_that_is_too_slow_is_not_asked_for_ever(bench, monkeypatch):
    asked = []
    monkeypatch.setattr(
        WorkerPool, "ask", lambda self, c, t: asked.append(c.name) or {"failure": "late", "timeout": 1.0}
    )
    found = bench(NOTHING, graphs=3)(progress="none")
    assert len(asked) == 3
    assert found["methods"]["nothing"]["failures"] == 6


@pytest.mark.skipif(networks_folder() is None, reason="pgmpy's networks are not installed")
def test_on_levels_a_twin_is_asked_once_and_methods_for_numbers_not_at_all(bench, monkeypatch):
    asked = []
    monkeypatch.setattr(WorkerPool, "ask", lambda self, c, t: asked.append(c.name) or {"failure": "-"})
    twin = fake("twin", "everything", twin="everything")
    numbers = fake("numbers", "nothing", only_numbers="it weighs numbers")
    measured = bench(twin, numbers, EVERYTHING, suites=("simulated", "sachs"), families=("er",), samples=1)
    found = measured(progress="none")
    assert asked == ["twin", "numbers", "everything", "everything", "everything"]
    assert {name: row["tables"] for name, row in found["methods"].items()} == {"twin": 3, "numbers": 1, "everything": 3}
    assert found["not_asked"] == {"numbers": "not asked about levels, since it weighs numbers"}
    assert found["best_peer"] != "numbers"


def test_patience_ends_with_three_late_answers_and_no_timely_one_as_wide():
    timeouts = TimeoutPolicy()
    for variables in (10, 20, 30):
        timeouts.note("s", "m", variables, {"failure": "late", "timeout": 1.0})
    timeouts.note("s", "m", 50, {"failure": "it broke"})
    assert timeouts.exhausted("s", "m", 30)
    assert not timeouts.exhausted("s", "m", 20)
    assert not timeouts.exhausted("other", "m", 30)
    timeouts.note("s", "m", 30, {"shd": 1})
    assert not timeouts.exhausted("s", "m", 30)
    assert timeouts.exhausted("s", "m", 31)


def test_one_crew_answers_quietly_on_one_thread_and_alike_each_time(capfd, asleep):
    with WorkerPool(2.0) as pool:
        assert pool.ask(fake("loud", "loud"), bench_table())["marks"].sum() == 0
        assert (pool.ask(fake("threads", "threads"), bench_table())["marks"] == 3).all()
        drawn = [pool.ask(fake("drawing", "drawing"), bench_table(d=8))["marks"] for _ in range(2)]
        assert drawn[0].any()
        assert np.array_equal(*drawn)
        assert pool.ask(fake("broken", "broken"), bench_table()) == {"failure": "RuntimeError: no such luck"}
        late = pool.ask(fake("slow", "sleeping", settings={"asleep": str(asleep)}), bench_table())
        assert late == {"failure": "no answer within 2 s", "timeout": 2.0}
        said = pool.ask(NOTHING, bench_table())
        assert len(said["times"]) == 3, "the process was started anew, and short answers are timed three times"
    assert capfd.readouterr() == ("", "")


def test_columns_that_do_not_vary_are_kept_from_a_method():
    table = bench_table(d=4)
    table.values[:, 1] = 0.0
    with WorkerPool(5.0) as pool:
        marks = pool.ask(fake("columns", "columns"), table)["marks"]
    assert not marks[1].any()
    assert not marks[:, 1].any()
    assert (marks[np.ix_([0, 2, 3], [0, 2, 3])] == 3 * (1 - np.eye(3))).all()


def test_ours_are_told_the_kinds_of_columns_with_levels():
    table = bench_table(discrete=True)
    table.values[0, 2] = 2.0
    kinds = {"x0": "binary", "x1": "binary", "x2": "nominal"}
    about = {"role": "ours", "process": "ours"}
    with WorkerPool(5.0) as pool:
        told = fake("kinds", "kinds_seen", settings={"wanted": kinds}, **about)
        assert "marks" in pool.ask(told, table)
        untold = fake("none", "kinds_seen", settings={"wanted": {}}, **about)
        assert "marks" in pool.ask(untold, bench_table())


def answer(skeleton, arrows, shd):
    return {"skeleton_f1": skeleton, "orientation_f1": arrows, "shd": shd}


FAILED = {"failure": "-"}


def test_ranks_share_places_and_put_failures_last():
    answers = {"a": answer(0.9, 0.5, 3), "b": answer(0.9, 0.7, 3), "c": answer(0.2, 0.7, 1), "d": FAILED, "e": FAILED}
    assert table_ranks(answers, "skeleton_f1") == {"a": 1.5, "b": 1.5, "c": 3.0, "d": 4.5, "e": 4.5}
    assert table_ranks(answers, "orientation_f1") == {"a": 3.0, "b": 1.5, "c": 1.5, "d": 4.5, "e": 4.5}
    assert table_ranks(answers, "shd") == {"a": 2.5, "b": 2.5, "c": 1.0, "d": 4.5, "e": 4.5}
    ranks = mean_ranks({"one": answers, "two": {"a": answer(1, 1, 0), "d": FAILED}})
    assert ranks["a"] == pytest.approx(((1.5 + 3.0 + 2.5) / 3 + 1.0) / 2)
    assert ranks["c"] == pytest.approx((3.0 + 1.5 + 1.0) / 3)
    assert ranks["d"] == pytest.approx((4.5 + 2.0) / 2)


def test_the_standard_error_and_the_margin_by_hand():
    assert mean_and_error([1.0, 2.0, 3.0]) == (2.0, pytest.approx((2 / 2) ** 0.5 / 3**0.5))
    assert mean_and_error([1.0]) == (1.0, None)
    assert mean_and_error([]) == (None, None)
    results = {
        "1": {"a": answer(0.9, 0, 1), "b": answer(0.5, 0, 3)},
        "2": {"a": answer(0.6, 0, 4), "b": answer(0.2, 0, 9)},
        "3": {"a": answer(0.0, 0, 0), "b": FAILED},
        "4": {"a": answer(0.0, 0, 0)},
    }
    even = margin(results, "a", "b", "skeleton_f1")
    assert even == {"value": pytest.approx(0.4), "low": pytest.approx(0.4), "high": pytest.approx(0.4), "tables": 2}
    uneven = margin(results, "a", "b", "shd")
    assert (uneven["value"], uneven["low"], uneven["high"]) == (-3.5, -5.0, -2.0)
    assert margin(results, "a", "nobody", "shd")["tables"] == 0


def test_the_best_peer_is_one_configuration_asked_about_all_tables():
    good, bad = answer(1, 1, 0), answer(0, 0, 9)
    results = {
        "1": {"sicl": good, "loose": good, "tight": bad, "numbers": good, "raw": good},
        "2": {"sicl": good, "loose": good, "tight": good, "numbers": good, "raw": good},
        "3": {"sicl": good, "loose": bad, "tight": good, "raw": good},
        "4": {"sicl": good, "loose": answer(0.9, 1, 0), "tight": answer(0.8, 1, 0), "raw": good},
    }
    entries = [OURS, *(fake(name, "nothing") for name in ("loose", "tight", "numbers"))]
    entries.append(fake("raw", "nothing", raw=True))
    assert best_peer(results, entries) == "loose"
    assert best_peer(results, [OURS]) is None


def test_speed_is_against_the_faster_variant_of_pc_and_a_late_answer_counts_the_limit():
    def timed(seconds):
        whole = {**answer(1, 1, 0), "collider_f1": 1.0, "edges": 1, "valid": True, "undefined": []}
        return {**whole, "seconds": seconds, "fastest": seconds, "slowest": seconds}

    late = {"failure": "late", "timeout": 60.0}
    results = {
        "1": {"sicl": timed(2.0), "pc-0.01": timed(8.0), "pc-0.05": late},
        "2": {"sicl": timed(4.0), "pc-0.01": timed(10.0), "pc-0.05": late},
        "3": {"sicl": timed(0.5), "pc-0.01": timed(1.0), "pc-0.05": timed(1.0)},
    }
    usual = {
        "suite": "simulated",
        "seen": True,
        "rows": 200,
        "edges": 3,
        "colliders": 1,
        "varsortability": None,
        "r2_sortability": 0.5,
    }
    facts = {key: {**usual, "cell": f"d{d}", "variables": d} for key, d in (("1", 50), ("2", 50), ("3", 20))}
    entries = [OURS, fake("pc-0.01", "nothing"), fake("pc-0.05", "nothing")]
    found = figures(results, facts, entries)
    assert found["speed_ratio_vs_pc_d50"] == pytest.approx(9.0 / 3.0)
    assert found["seconds_d20"] == 0.5
    assert found["ece"] is None
    assert found["methods"]["pc-0.05"]["sicl_rank_there"] == found["sicl_mean_rank"]


def random_class(rng, d):
    made = np.triu(rng.random((d, d)) < 0.4, 1)
    order = rng.permutation(d)
    return Graph.from_adjacency("DAG", made[np.ix_(order, order)]).cpdag()


def test_scores_of_valid_answers_are_those_of_compare():
    rng = np.random.default_rng(0)
    for _ in range(50):
        truth, estimate = random_class(rng, 6), random_class(rng, 6)
        found, known = scored(truth, estimate.marks), compare(truth, estimate)
        assert found["valid"]
        assert found["shd"] == known.shd
        assert found["skeleton_f1"] == known.skeleton.f1
        assert found["orientation_f1"] == known.orientation.f1
        assert found["collider_f1"] == known.colliders.f1


def test_scores_of_an_answer_that_is_no_cpdag():
    truth = Graph.of("CPDAG", "abc", [("a", "-->", "c"), ("b", "-->", "c")])
    marks = np.zeros((3, 3), np.int8)
    marks[0, 2] = marks[2, 0] = Mark.ARROW  # a <-> c
    marks[2, 1], marks[1, 2] = Mark.TAIL, Mark.ARROW  # b --> c
    found = scored(truth, marks)
    assert not found["valid"]
    assert (found["skeleton_f1"], found["shd"]) == (1.0, 1)
    assert found["orientation_f1"] == pytest.approx(2 / 3)
    assert found["collider_f1"] == 1.0, "both arrows point at c"


def test_empty_against_empty_is_one_and_said():
    truth = Graph.of("CPDAG", "abc", [("a", "---", "b")])
    found = scored(truth, np.zeros((3, 3), np.int8))
    assert found["undefined"] == ["orientation_f1", "collider_f1"]
    assert (found["skeleton_f1"], found["orientation_f1"], found["shd"]) == (0.0, 1.0, 1)


def test_the_calibration_error_by_hand():
    truth = Graph.of("CPDAG", "abcd", [("a", "---", "b"), ("c", "---", "d")])
    p = np.zeros((4, 4))
    for i, j, value in ((0, 1, 0.85), (0, 2, 0.89), (0, 3, 0.1), (1, 2, 0.12), (1, 3, 0.99), (2, 3, 1.0)):
        p[i, j] = p[j, i] = value
    # bin [0.1, 0.2): 0.22 against 0; [0.8, 0.9): 1.74 against 1; [0.9, 1]: 1.99 against 1; six pairs
    bins = binned(truth, p)
    assert [row[0] for row in bins] == [0, 2, 0, 0, 0, 0, 0, 0, 2, 2]
    assert calibration_error([bins]) == pytest.approx((0.22 + 0.74 + 0.99) / 6)
    assert calibration_error([bins, bins]) == pytest.approx((0.22 + 0.74 + 0.99) / 6)
    assert calibration_error([]) is None


def test_the_table_of_methods_is_whole():
    assert len({entry.name for entry in ENTRIES}) == len(ENTRIES)
    for entry in ENTRIES:
        assert callable(load(entry.target))
    assert {c.name for c in ENTRIES if c.raw} == {"dagma-raw", "var-sort-raw"}
    assert [c.name for c in select(("ges", "empty", "ges"), quick=True)] == ["ges", "empty"]
    assert "notears" not in {c.name for c in select((), quick=True)}
    with pytest.raises(BadInput, match="'pcc'"):
        select(("pcc",), quick=False)


def test_every_method_of_the_package_is_an_entry_and_called_as_itself():
    own = {entry.name: entry for entry in ENTRIES if entry.role == "ours"}
    of_dags = {name for name, method in VERBS["discover"].methods.items() if load(method.target).gives == "CPDAG"}
    assert own.keys() >= of_dags
    assert not own.keys() & (VERBS["discover"].methods.keys() - of_dags)
    values = np.random.default_rng(0).standard_normal((60, 3))
    frame = pd.DataFrame(values + values[:, :1], columns=list("abc"))
    for name, settings in (("sicl", {}), ("node-edge", {"model": "node-edge", "threshold": "f1"})):
        entry = own[name]
        found = load(entry.target)(frame, {}, **entry.settings)
        assert np.array_equal(found.adjacent, SiCL(**settings)(frame).adjacent)
        assert found.graph == SiCL(**settings)(frame).graph


def test_a_package_that_is_not_there_is_named_with_the_remedy(monkeypatch):
    monkeypatch.setattr(entries, "_installed", lambda module: module != "dagma")
    missing = {entry.name: entry.missing for entry in ENTRIES}
    assert missing["dagma"] == "not installed: pip install dagma"
    assert missing["ges"] is None


def test_a_bench_of_nobody_says_so(bench):
    absent = Entry("absent", "nowhere:run", needs=("no_such_module_here", "no-such-package"))
    with pytest.raises(BadInput, match="absent: not installed"):
        bench(absent)(progress="none")


@pytest.mark.parametrize(
    "bad",
    [
        {"graphs": 0},
        {"samples": 0},
        {"variables": (1,)},
        {"rows": (5,)},
        {"network_rows": (1,)},
        {"limit": 0.0},
        {"seed": -1},
    ],
    ids=str,
)
def test_settings_that_cannot_be_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        DiscoverBench(**bad)
