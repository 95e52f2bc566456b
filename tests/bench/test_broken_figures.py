"""Figures of the suite of broken tables by hand and by brute force, and the suite end to end."""

import importlib
import json

import numpy as np
import pandas as pd
import pytest

from intaglio.bench.discover import broken_tables
from intaglio.bench.discover import worker as worker_module
from intaglio.bench.discover.bench import DiscoverBench
from intaglio.bench.discover.broken_figures import broken_figures, broken_lines, broken_only, unlikeness_areas
from intaglio.bench.discover.entries import select
from intaglio.bench.discover.figures import figures
from intaglio.bench.discover.processes import WorkerPool
from intaglio.bench.discover.suites import BenchTable
from intaglio.bench.discover.worker import Question
from intaglio.causal.methods.sicl.method import SiCL
from intaglio.errors import BadInput


def answer(shd, f1=0.5, **more):
    whole = {"skeleton_f1": f1, "orientation_f1": f1, "collider_f1": f1, "shd": shd, "edges": 1, "valid": True}
    return {**whole, "undefined": [], "seconds": 0.1, "fastest": 0.1, "slowest": 0.1, **more}


def own(shd, score, pairs=10.0, sure=2.0, true=1.0):
    """An answer of SiCL: its unlikeness, and one bin with so many pairs, summed probabilities and true edges."""
    return answer(shd, ood_score=score, bins=[[float(pairs), float(sure), float(true)]] + [[0.0] * 3] * 9)


def fact(family, sound, edges):
    usual = {"suite": "broken", "seen": None, "variables": 5, "rows": 50, "colliders": 0}
    cell = f"{family} {'sound' if sound else 'broken'}"
    return {
        **usual,
        "source": family,
        "sound": sound,
        "edges": edges,
        "cell": cell,
        "varsortability": None,
        "r2_sortability": 0.5,
    }


FACTS = {
    "a1": fact("rows", False, 3),
    "a2": fact("rows", False, 5),
    "b1": fact("rows", True, 3),
    "c1": fact("gaps", False, 4),
    "d1": fact("gaps", True, 4),
}
RESULTS = {
    "a1": {"sicl": own(7, 0.0, 10, 6, 2), "pc": answer(4), "empty": answer(3)},
    "a2": {"sicl": own(6, 0.3, 10, 5, 3), "pc": answer(2), "empty": answer(5)},
    "b1": {"sicl": own(1, 0.1), "pc": answer(1), "empty": answer(3)},
    "c1": {"sicl": own(2, 0.5, 10, 3, 2), "pc": {"failure": "late"}, "empty": answer(4)},
    "d1": {"sicl": own(0, 0.0), "pc": answer(0), "empty": answer(4)},
}


def found(results=RESULTS, facts=FACTS, peer="pc"):
    return broken_figures(results, facts, broken_only(results, facts), peer)


def test_families_have_their_means_beside_those_of_the_twins():
    rows = found()["broken"]
    assert set(rows) == {"rows", "gaps"}
    of = rows["rows"]
    assert (of["tables"], of["sound_tables"]) == (2, 1)
    assert (of["empty_shd"], of["sound_empty_shd"]) == (4.0, 3.0)
    assert of["methods"]["sicl"]["shd"] == 6.5
    assert of["methods"]["sicl"]["sound_shd"] == 1.0
    assert of["methods"]["pc"]["shd"] == 3.0
    assert of["ece"] == pytest.approx((11 - 5) / 20), "bins are summed over tables first"
    assert (of["unlikeness"], of["sound_unlikeness"]) == (pytest.approx(0.15), 0.1)
    assert rows["gaps"]["methods"]["pc"] == {
        "shd": None,
        "skeleton_f1": None,
        "failures": 1,
        "sound_shd": 0.0,
        "sound_skeleton_f1": 0.5,
        "sound_failures": 0,
    }


def test_the_headline_is_of_broken_tables_alone():
    of = found()
    # Ranks of three methods on a1 (by F1 all tie at 2): SHD 7, 4, 3; on a2: 6, 2, 5; on c1: 2, failed, 4.
    sicl = [(2 + 2 + 3) / 3, (2 + 2 + 3) / 3, (1.5 + 1.5 + 1) / 3]
    pc = [(2 + 2 + 2) / 3, (2 + 2 + 1) / 3, 3.0]
    assert of["sicl_broken_mean_rank"] == pytest.approx(np.mean(sicl))
    assert of["best_peer_broken_mean_rank"] == pytest.approx(np.mean(pc))
    assert of["worse_than_empty"] == ["rows"]
    assert (of["ece_worst_family"], of["ece_worst_family_name"]) == (pytest.approx(0.3), "rows")
    # Worse than the empty graph: a1 (0.0), a2 (0.3); else b1 (0.1), c1 (0.5), d1 (0.0).
    assert of["ood_auc"] == pytest.approx((0.5 + 2) / 6)
    assert of["ood_auc_broken"] == pytest.approx((0.5 + 2 + 2) / 6)
    assert of["undefined_figures"] == {}


def test_a_mean_shd_equal_to_the_empty_graph_s_is_not_above_it():
    results = {"a1": {"sicl": own(3, 0.0)}, "a2": {"sicl": own(5, 0.1)}}
    assert found(results)["worse_than_empty"] == []
    results["a2"]["sicl"]["shd"] = 6
    assert found(results)["worse_than_empty"] == ["rows"]
    # A table that SiCL did not answer is not the empty graph's either.
    results = {"a1": {"sicl": own(4, 0.0)}, "a2": {"sicl": {"failure": "late"}}}
    assert found(results)["worse_than_empty"] == ["rows"]


def test_areas_are_those_of_all_pairs_with_ties_counted_half():
    rng = np.random.default_rng(0)
    for _ in range(20):
        facts, results, known = {}, {}, []
        for k in range(30):
            sound, edges, shd = bool(rng.random() < 0.5), int(rng.integers(6)), int(rng.integers(6))
            score = float(rng.integers(4)) / 10
            facts[str(k)] = fact("rows", sound, edges)
            results[str(k)] = {"sicl": own(shd, score)}
            known.append((score, shd > edges, not sound))
        areas, reasons = unlikeness_areas(results, facts)
        for place, name in ((1, "ood_auc"), (2, "ood_auc_broken")):
            pairs = [(a[0] > b[0]) + (a[0] == b[0]) / 2 for a in known for b in known if a[place] and not b[place]]
            assert areas[name] == pytest.approx(np.mean(pairs))
        assert reasons == {}


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ({"a1": own(1, 0.1), "b1": own(1, 0.2)}, "on none of 2 tables"),
        ({"a1": own(9, 0.1), "b1": own(9, 0.2)}, "on all of 2 tables"),
        ({"a1": own(9, 0.2), "b1": own(1, 0.2)}, "all scores are equal"),
        ({"a1": answer(9), "b1": answer(1)}, "gave no unlikeness"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_area_of_one_class_is_none_and_said(answers, says):
    results = {key: {"sicl": of} for key, of in answers.items()}
    of = found(results)
    assert of["ood_auc"] is None
    assert says in of["undefined_figures"]["ood_auc"]
    assert any(line.startswith("ood_auc: ") and says in line for line in broken_lines(of))


def test_without_sicl_the_figures_are_none_and_said():
    results = {key: {"pc": answers["pc"], "empty": answers["empty"]} for key, answers in RESULTS.items()}
    of = found(results)
    assert of["sicl_broken_mean_rank"] is None
    assert of["ece_worst_family"] is None
    assert of["worse_than_empty"] == []
    assert set(of["undefined_figures"]) == {"ood_auc", "ood_auc_broken", "ece_worst_family"}
    json.dumps(of, allow_nan=False)


def test_the_text_has_a_line_per_family_broken_and_sound():
    lines = broken_lines(found())
    head, rows = lines[1], [line.split() for line in lines[2:4]]
    assert "pc SHD" in head
    assert [row[0] for row in rows] == ["rows", "gaps"]
    assert " ".join(rows[0]) == "rows 2 / 1 4 / 3 6.5 / 1 3 / 1 0.3 / 0.1 0.15 / 0.1"
    assert " ".join(rows[1]) == "gaps 1 / 1 4 / 4 2 / 0 - / 0 0.1 / 0.1 0.5 / 0"
    assert lines[4:] == ["pc failed on 1 of 2 tables of gaps: its SHD is of the others"]


def test_other_suites_have_none_of_these_figures():
    entries = select(("sicl", "empty"), quick=True)
    facts = {"t": {**fact("er", None, 3), "suite": "simulated", "seen": True}}
    assert not {"broken", "ood_auc", "best_peer_broken"} & figures({"t": {"empty": answer(3)}}, facts, entries).keys()
    before = {key: value for key, value in facts["t"].items() if key != "sound"}
    assert "broken" not in figures({"t": {"empty": answer(3)}}, {"t": before}, entries), "an older run's facts"


def asked(function, values, *, own=False, raw=False, kinds=None, discrete=False, spread=None):
    names = tuple(f"x{k}" for k in range(values.shape[1]))
    table = BenchTable(names, values, discrete, np.ones(len(names)) if spread is None else spread, kinds)
    settings = {"wanted": kinds} if function == "kinds_seen" else {}
    return worker_module._answer(Question(f"discover_fakes:{function}", settings, own, raw, table))


def test_peers_are_given_the_rows_without_gaps_standardised_and_the_raw_ones_as_measured(monkeypatch):
    given = []
    fakes = importlib.import_module("discover_fakes")
    monkeypatch.setattr(fakes, "nothing", lambda values, discrete: given.append(values) or np.zeros((3, 3)))
    values = np.random.default_rng(0).poisson(5, (40, 3)).astype(float)
    values[::4, 1] = np.nan
    whole = values[~np.isnan(values[:, 1])]
    asked("nothing", values, kinds={})
    assert given[-1].shape == (30, 3)
    assert np.allclose(given[-1], (whole - whole.mean(0)) / whole.std(0))
    asked("nothing", values, kinds={}, raw=True)
    assert np.array_equal(given[-1], whole)
    standardised = np.random.default_rng(1).standard_normal((20, 3))
    asked("nothing", standardised)
    assert np.array_equal(given[-1], standardised), "other suites' tables are given as they are"
    codes = (standardised > 0).astype(float)
    asked("nothing", codes, discrete=True)
    assert np.array_equal(given[-1], codes)


def test_a_table_whose_every_row_has_a_gap_is_a_failure_of_the_peers_alone():
    values = np.random.default_rng(0).standard_normal((20, 2))
    values[::2, 0] = np.nan
    values[1::2, 1] = np.nan
    assert "0 rows have no gap" in asked("nothing", values, kinds={})["failure"]
    assert "marks" in asked("kinds_seen", values, own=True, kinds={})


def test_our_methods_are_given_kinds_and_gaps_as_they_are_and_tell_their_unlikeness():
    rng = np.random.default_rng(0)
    values = np.stack([rng.standard_normal(60), rng.random(60) < 0.5, rng.integers(3, size=60)], 1)
    values[3, 0] = np.nan
    told = asked("kinds_seen", values, own=True, kinds={"x1": "binary", "x2": "ordinal"})
    assert told["ood_score"] is None, "a method that has none"
    table = BenchTable(("x0", "x1", "x2"), values, False, np.ones(3), {"x1": "binary", "x2": "ordinal"})
    (entry,) = select(("sicl",), quick=True)
    answered = worker_module._answer(Question(entry.target, dict(entry.settings), True, False, table))
    plain = SiCL()(pd.DataFrame(values, columns=list(table.names)), kinds=table.kinds)
    assert answered["ood_score"] == plain.ood_score
    assert np.array_equal(answered["adjacent"], plain.adjacent)


@pytest.fixture
def in_process(monkeypatch):
    """Methods answer in this process, so that nothing is started."""

    def ask(self, entry, table):
        question = Question(entry.target, dict(entry.settings), entry.role == "ours", entry.raw, table)
        return worker_module._answer(question)

    monkeypatch.setattr(WorkerPool, "ask", ask)
    monkeypatch.setattr(worker_module, "BRIEF_S", 0.0)


def test_the_suite_end_to_end_on_two_tiny_tables(in_process, monkeypatch, tmp_path):
    of = broken_tables.BROKEN_FAMILIES["dependent-gaps"]
    monkeypatch.setitem(broken_tables.BROKEN_FAMILIES, "dependent-gaps", {"effect": of["effect"]})
    usual = {"suites": ("broken",), "breaks": ("dependent-gaps",), "variables": (5,), "rows": (80,)}
    bench = DiscoverBench(**usual, methods=("sicl", "empty"), runs=tmp_path)
    measured = bench(progress="none")
    json.dumps(measured, allow_nan=False)
    assert measured["tables"] == 2
    assert set(measured["suites"]) == {"broken", "broken, twins"}
    row = measured["broken"]["dependent-gaps"]
    assert (row["tables"], row["sound_tables"]) == (1, 1)
    assert row["empty_shd"] == row["sound_empty_shd"] == row["methods"]["empty"]["shd"]
    assert measured["best_peer_broken"] == "empty"
    assert 0 <= row["unlikeness"] <= 1
    assert 0 <= measured["ece_worst_family"] == row["ece"] <= 1
    assert "ood_auc_broken" in measured
    text = bench.summary(measured)
    assert "broken tables / their sound twins" in text
    assert "broken dependent-gaps effect-sound d5 n80" in text
    assert bench(progress="none") == measured, "the finished run is found again"


def test_broken_tables_are_asked_for_by_name_alone():
    usual, quick = (DiscoverBench(quick=quick)._cells()[0] for quick in (False, True))
    assert "broken" not in {cell.suite for cell in [*usual, *quick]}
    cells, absent = DiscoverBench(suites=("broken",))._cells()
    assert {cell.suite for cell in cells} == {"broken"}
    assert absent == {}, "they need no published network"
    sizes = {(cell.variables, cell.rows) for cell in cells}
    assert sizes == {(d, n) for d in (5, 10, 20, 30) for n in (200, 600, 3000)}
    few = DiscoverBench(suites=("broken",), breaks=("rare-events",), variables=(6,), rows=(90,), graphs=3)._cells()[0]
    assert {(cell.source, cell.variables, cell.rows, cell.tables) for cell in few} == {("rare-events", 6, 90, 3)}
    with pytest.raises(BadInput, match="'rare'"):
        DiscoverBench(suites=("broken",), breaks=("rare",))._cells()
