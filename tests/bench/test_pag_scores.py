"""Scores of marks against a true PAG, and the figures over tables, by hand and beside the room's own comparison."""

import numpy as np
import pytest

from intaglio.bench.latent.latent_tables import block_lines, headline_lines
from intaglio.bench.latent.pag_figures import blocks, headline, method_row, most_variables_in_time, quality
from intaglio.bench.latent.pag_scores import F1S, SCORES, pag_scores
from intaglio.causal.graphs.distances import compare_pags
from intaglio.causal.graphs.graph import Graph
from intaglio.causal.graphs.marks import Mark
from intaglio.causal.simulate.latent_models import LatentRecipe, draw_latent_model

NAMES = ("a", "b", "c", "d")
TRUTH = Graph.of("PAG", NAMES, [("a", "o->", "c"), ("b", "o->", "c"), ("c", "-->", "d")])


def test_scores_of_a_small_graph_are_those_counted_by_hand():
    # a o→ c is right, b ↔ c has one mark wrong, c → d is missing, a o-o b is too much.
    found = Graph.of("PAG", NAMES, [("a", "o->", "c"), ("b", "<->", "c"), ("a", "o-o", "b")])
    assert pag_scores(TRUTH, found.marks) == {
        "skeleton_f1": pytest.approx(2 * 2 / (3 + 3)),
        "pag_f1": pytest.approx(2 * 1 / (3 + 3)),
        "arrowhead_f1": pytest.approx(2 * 2 / (3 + 3)),  # true: c, c, d; found: c, c, b
        "tail_f1": 0.0,
        "shd": 3,
        "edges": 3,
        "valid": True,
    }


def test_scores_are_those_of_the_comparison_of_valid_graphs():
    for seed in range(15):
        random = np.random.default_rng(seed)
        truth, other = (draw_latent_model(LatentRecipe(), random, 6).graph.mag().pag() for _ in range(2))
        figures = compare_pags(truth, other).figures()
        scores = pag_scores(truth, other.marks)
        assert {name: scores[name] for name in SCORES} == pytest.approx({name: figures[name] for name in SCORES})
        perfect = pag_scores(truth, truth.marks)
        assert (perfect["shd"], perfect["pag_f1"], perfect["skeleton_f1"]) == (0, 1.0, 1.0)


def test_a_graph_that_is_no_pag_is_counted_and_scored_all_the_same():
    marks = np.zeros((4, 4), np.int8)
    for i, j in ((0, 1), (1, 2), (2, 0)):
        marks[i, j], marks[j, i] = Mark.ARROW, Mark.TAIL
    scores = pag_scores(TRUTH, marks)
    assert scores["valid"] is False
    assert scores["skeleton_f1"] == pytest.approx(2 * 2 / (3 + 3))


def test_of_a_cpdag_the_skeleton_alone_counts():
    lines = TRUTH.marks.copy()
    lines[lines != 0] = Mark.TAIL
    scores = pag_scores(TRUTH, lines, skeleton_only=True)
    assert scores["skeleton_f1"] == 1.0
    assert scores["edges"] == 3
    assert all(scores[name] is None for name in (*F1S[1:], "shd", "valid"))


def answer(pag_f1, seconds, skeleton_f1=0.8, valid=True):
    return {"skeleton_f1": skeleton_f1, "pag_f1": pag_f1, "arrowhead_f1": 0.5, "tail_f1": 0.5, "shd": 2, "edges": 5} | {
        "valid": valid,
        "seconds": seconds,
    }


def fact(d, suite="simulated", edges=7):
    return {"cell": f"{suite} d{d}", "suite": suite, "source": "none", "variables": d, "edges": edges, "rows": 100}


LATE = {"failure": "no answer within 30 s", "timeout": 30.0}
FACTS = {"t1": fact(10), "t2": fact(10), "t3": fact(50), "t4": fact(9, "networks")}
ANSWERS = {
    "t1": {"spot": answer(0.6, 2.0), "fci-0.01": answer(0.2, 1.0), "fci-0.05": answer(0.3, 1.0), "abic": LATE},
    "t2": {"spot": answer(0.8, 4.0), "fci-0.01": answer(0.4, 1.0, valid=False), "fci-0.05": LATE, "abic": LATE},
    "t3": {"spot": answer(0.1, 29.0), "fci-0.01": answer(0.0, 9.0), "fci-0.05": answer(0.0, 9.0)},
    "t4": {"spot": answer(0.0, 1.0)},
}


def test_a_failure_counts_as_the_empty_graph_with_its_limit_as_its_seconds():
    row = method_row(ANSWERS, FACTS, "fci-0.05")
    assert (row["tables"], row["failures"], row["invalid"], row["seconds"]) == (3, 1, 0, 9.0)
    assert row["pag_f1"] == pytest.approx(0.3 / 3)
    assert row["pag_f1_error"] == pytest.approx(np.std([0.3, 0, 0], ddof=1) / 3**0.5)
    assert row["shd"] == pytest.approx((2 + 7 + 2) / 3)
    assert method_row(ANSWERS, FACTS, "fci-0.01")["invalid"] == 1
    pc = method_row(
        {"t1": {"pc-0.01": LATE}, "t2": {"pc-0.01": pag_scores(TRUTH, TRUTH.marks, True)}}, FACTS, "pc-0.01"
    )
    assert (pc["skeleton_f1"], pc["pag_f1"], pc["shd"]) == (0.5, None, None)


def test_the_headline_is_over_simulated_tables_and_takes_the_better_level_of_fci():
    found = headline(ANSWERS, FACTS, 30.0, 39.0)
    assert found["spot_pag_f1"] == pytest.approx((0.6 + 0.8 + 0.1) / 3), "networks have blocks of their own"
    assert (found["fci_pag_f1"], found["fci_level"]) == (pytest.approx(0.2), "0.01")
    assert (found["abic_pag_f1"], found["spot_seconds_d50"]) == (0.0, 29.0)
    assert found["spot_pag_f1_d10"] == pytest.approx(0.7)
    assert found["spot_pag_f1_d50"] == pytest.approx(0.1)
    assert found["abic_ours_speedup_vs_reference_math"] == 39.0
    assert found["not_measured"] == {
        "abic_seconds_d50": "abic gave no answer",
        "abic_pag_f1_d50": "abic gave no answer",
    }


def test_what_was_not_measured_has_its_reason():
    spot = {"t1": {"spot": answer(0.6, 2.0)}}
    found = headline(spot, FACTS, 30.0, None)
    reasons = found["not_measured"]
    assert all(found[name] is None for name in reasons)
    assert reasons["spot_seconds_d50"].startswith("no simulated table had 50 variables")
    assert reasons["fci_pag_f1"].startswith("fci took no part")
    assert reasons["abic_ours_speedup_vs_reference_math"].startswith("no step was timed at 50 columns")
    assert headline({}, {}, 30.0, None)["not_measured"]["spot_pag_f1"].startswith("no simulated tables were searched")
    assert "spot_pag_f1  0.6" in "\n".join(headline_lines(found))
    assert "abic took no part" in "\n".join(headline_lines(found))


def test_the_largest_size_in_time_is_one_where_no_table_took_until_the_limit():
    assert most_variables_in_time(ANSWERS, FACTS, 30.0) == 50
    assert most_variables_in_time(ANSWERS, FACTS, 29.0) == 10
    assert most_variables_in_time(ANSWERS, FACTS, 4.0) == 9, "the second table of 10 variables took 4 seconds"
    late = {key: {"spot": answer(0.5, 700.0)} for key in FACTS}
    assert most_variables_in_time(late, FACTS, 1000.0) is None, "ten minutes are the most, whatever the limit"
    assert most_variables_in_time({"t1": {"spot": LATE}}, FACTS, 600.0) is None


def test_the_posterior_is_judged_over_all_pairs_of_a_size():
    # 0.9 and 0.4 are adjacent, 0.6 and 0.1 not: 3 of 4 comparisons are right.
    parts = [{"cascade": [0.9, 0.6], "adjacent": [1.0, 0.0]}, {"cascade": [0.4, 0.1], "adjacent": [1.0, 0.0]}]
    found = quality(parts)["cascade"]
    assert (found["auroc"], found["pairs"], found["rate"]) == (0.75, 4, 0.5)
    assert found["auprc"] == pytest.approx((1 + 2 / 3) / 2)
    assert found["ece"] == pytest.approx((0.1 + 0.6 + 0.6 + 0.1) / 4)
    assert quality([]) == {}
    assert quality([{"cascade": [0.5], "adjacent": [1.0]}]) == {}


def test_margins_are_paired_and_leave_failures_out():
    part = {key: ANSWERS[key] for key in ("t1", "t2")}
    found = blocks(part, {key: FACTS[key] for key in part}, {}, "variables")["10"]["margins"]
    assert "spot" not in found
    assert found["fci-0.01"] | {"low": 0, "high": 0} == {"value": pytest.approx(0.4), "low": 0, "high": 0, "tables": 2}
    assert (found["fci-0.05"]["value"], found["fci-0.05"]["tables"]) == (pytest.approx(0.3), 1)
    assert (found["abic"]["value"], found["abic"]["tables"]) == (None, 0)


def test_there_is_a_block_for_each_size_with_a_line_for_each_method():
    facts = {key: one for key, one in FACTS.items() if one["suite"] == "simulated"}
    posteriors = {"t1": {"cascade": [0.9, 0.1], "adjacent": [1.0, 0.0]}}
    found = blocks(ANSWERS, facts, posteriors, "variables")
    assert list(found) == ["10", "50"]
    assert found["10"]["tables"] == 2
    text = block_lines(found, "simulated, {} variables")
    assert "simulated, 10 variables, 2 tables" in text
    assert "simulated, 50 variables, 1 tables" in text
    (spot,) = [line for line in text if line.lstrip().startswith("spot") and "0.7 ± 0.1" in line]
    assert spot.split()[-3:] == ["3", "0", "0"]
    assert sum("0.400 (0.400 to 0.400)" in line for line in text) == 1
    assert sum("cascade: AUROC 1.000" in line for line in text) == 1
