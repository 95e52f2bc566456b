"""The tables of the discovery bench: their distributions, and the published networks that they come from."""

import math

import numpy as np
import pytest

from intaglio.bench.discover import suites
from intaglio.bench.discover.bench import DiscoverBench
from intaglio.bench.discover.published_networks import networks_folder, published, read_bif, read_gaussian
from intaglio.bench.discover.scores import scored
from intaglio.bench.discover.suites import (
    FIRST_SEED,
    PROTEIN_NAMES,
    Cell,
    networks,
    read_sachs,
    recipe,
    simulated,
    tasks,
)
from intaglio.errors import BadInput, IntaglioError
from intaglio.randomness import numpy_generator

NETWORK = """
network unknown { }
variable rain { type discrete [ 2 ] { yes, no }; }
variable wet { type discrete [ 3 ] { dry, damp, soaked }; }
variable tap { type discrete [ 2 ] { on, off }; }
probability ( wet | tap, rain ) {
  (off, no) 0.9, 0.1, 0.0;
  (on, yes) 0.0, 0.2, 0.8;
  (off, yes) 0.2, 0.5, 0.3;
  (on, no) 0.1, 0.6, 0.3;
}
probability ( rain ) { table 0.25, 0.75; }
probability ( tap ) { table 0.5, 0.5; }
"""
GAUSSIAN = {
    "nodes": ["b", "a"],
    "arcs": [["a", "b"]],
    "cpds": {
        "b": {"coefficients": {"(Intercept)": [1.0], "a": [-2.0]}, "variance": [0.25], "parents": ["a"]},
        "a": {"coefficients": {"(Intercept)": [3.0]}, "variance": [4.0], "parents": []},
    },
}
COUNTS = {
    "cancer": (5, 4, 1, 4),
    "earthquake": (5, 4, 1, 4),
    "survey": (6, 6, 2, 6),
    "asia": (8, 8, 2, 5),
    "sachs": (11, 17, 0, 0),
    "child": (20, 25, 5, 13),
    "insurance": (27, 52, 23, 34),
    "water": (32, 66, 78, 60),
    "alarm": (37, 46, 24, 42),
    "ecoli70": (46, 70, 16, 45),
    "magic-niab": (44, 66, 150, 56),
    "magic-irri": (64, 102, 225, 90),
}
"""Variables, edges, unshielded colliders, compelled arrows."""
installed = pytest.mark.skipif(networks_folder() is None, reason="pgmpy's networks are not installed")


def test_a_bif_text_is_read_whatever_the_order_of_its_rows():
    network = read_bif(NETWORK)
    assert network.names == ("rain", "wet", "tap")
    assert network.states[1] == ("dry", "damp", "soaked")
    assert {(e.first, e.second) for e in network.graph.edges} == {("rain", "wet"), ("tap", "wet")}
    wet = network.nodes[1]
    assert [network.names[k] for k in wet.parents] == ["tap", "rain"]
    assert wet.table[0, 0].tolist() == [0.0, 0.2, 0.8]
    assert wet.table[1, 1].tolist() == [0.9, 0.1, 0.0]


def test_samples_of_a_discrete_network_follow_its_laws():
    rain, wet, tap = read_bif(NETWORK).sample(np.random.default_rng(0), 40_000).T
    assert (rain == 0).mean() == pytest.approx(0.25, abs=0.01)
    case = (rain == 0) & (tap == 0)
    assert not (wet[case] == 0).any()
    assert (wet[case] == 2).mean() == pytest.approx(0.8, abs=0.02)
    assert (wet[(rain == 1) & (tap == 1)] == 0).mean() == pytest.approx(0.9, abs=0.02)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("(on, no) 0.1, 0.6, 0.3;", "", "'wet' lacks some states"),
        ("tap, rain", "tap, snow", "'snow'"),
        ("probability ( tap ) { table 0.5, 0.5; }", "", "no law for 'tap'"),
    ],
)
def test_a_bif_text_that_does_not_fit_itself_is_refused(old, new, says):
    with pytest.raises(BadInput, match=says):
        read_bif(NETWORK.replace(old, new))


def test_a_gaussian_network_and_its_samples():
    network = read_gaussian(GAUSSIAN)
    b, a = network.sample(np.random.default_rng(0), 40_000).T
    assert not network.discrete
    assert a.mean() == pytest.approx(3.0, abs=0.05)
    assert a.std() == pytest.approx(2.0, rel=0.02)
    assert (b - (1 - 2 * a)).std() == pytest.approx(0.5, rel=0.02)
    assert (b - (1 - 2 * a)).mean() == pytest.approx(0.0, abs=0.01)


@installed
@pytest.mark.parametrize("name", COUNTS)
def test_the_class_of_a_published_network_has_the_known_counts(name):
    dag = published(name).graph
    pattern = dag.cpdag()
    assert (len(dag), len(dag.edges), len(dag.colliders), int(pattern.directed.sum())) == COUNTS[name]


@installed
def test_the_truth_of_sachs_is_undirected_and_the_empty_graph_is_17_edges_away():
    (cell,) = networks(("sachs",), "sachs", (853,), 1)
    (task,) = tasks(cell, 0, "gaussian")
    assert task.table.values.shape == (853, 11)
    assert task.table.discrete
    assert not task.truth.directed.any()
    found = scored(task.truth, np.zeros((11, 11), np.int8))
    assert (found["shd"], found["orientation_f1"]) == (17, 1.0)


@installed
def test_a_network_that_is_not_there_is_named():
    with pytest.raises(BadInput, match="'azia'.*asia"):
        published("azia")


def test_without_pgmpy_networks_are_asked_for_and_the_bench_leaves_them_out(monkeypatch):
    monkeypatch.setattr("intaglio.bench.discover.published_networks.importlib.util.find_spec", lambda name: None)
    with pytest.raises(IntaglioError, match="pip install"):
        published("asia")
    cells, absent = DiscoverBench(quick=True)._cells()
    assert {cell.suite for cell in cells} == {"simulated"}
    assert set(absent) == {"bnlearn", "sachs"}


def test_columns_are_shuffled_with_their_truth(monkeypatch):
    monkeypatch.setattr(suites, "_network", lambda name: read_gaussian(GAUSSIAN))
    orders = set()
    for task in tasks(Cell("gaussian", "toy", "gaussian", 2, 500, 6), 0, "gaussian"):
        orders.add(task.table.names)
        a, b = (task.table.values[:, task.table.names.index(name)] for name in "ab")
        assert np.corrcoef(a, b)[0, 1] < -0.9
        assert task.truth.names == task.table.names
        assert a.std() == pytest.approx(1.0)
        assert dict(zip(task.table.names, task.table.spread, strict=True))["a"] == pytest.approx(2.0, rel=0.2)
        assert task.varsortability == 1.0
    assert orders == {("a", "b"), ("b", "a")}


@pytest.mark.parametrize("family", ["er", "sf", "ws", "sbm", "grg"])
@pytest.mark.parametrize("law", ["linear", "rff"])
def test_simulated_tables_are_standardised_and_the_same_each_time(family, law):
    (cell,) = simulated((family,), (law,), (7,), (80,), 2)
    once, twice = (list(tasks(cell, 0, "gaussian")) for _ in range(2))
    assert cell.seen == (family not in ("ws", "grg"))
    for task, again in zip(once, twice, strict=True):
        assert np.array_equal(task.table.values, again.table.values)
        assert task.truth == again.truth
        assert np.allclose(task.table.values.mean(0), 0, atol=1e-5)
        assert np.allclose(task.table.values.std(0), 1, atol=1e-4)
        assert not math.isnan(task.varsortability) or not task.truth.edges
    assert not np.array_equal(once[0].table.values, once[1].table.values)
    other = next(tasks(cell, 1, "gaussian"))
    assert not np.array_equal(once[0].table.values, other.table.values)


def test_tables_are_drawn_from_seeds_that_no_training_uses(monkeypatch):
    seeds = []
    monkeypatch.setattr(suites, "numpy_generator", lambda seed, k: seeds.append(seed) or numpy_generator(seed, k))
    list(tasks(simulated(("er",), ("linear",), (4,), (30,), 3)[0], 5, "gaussian"))
    assert set(seeds) == {FIRST_SEED + 5}
    assert FIRST_SEED >= 10_000_000


def test_a_table_that_cannot_be_used_is_drawn_again(monkeypatch):
    from dataclasses import replace

    drawn = suites._drawn
    made = []

    def first_is_bad(*about):
        made.append(drawn(*about))
        return replace(made[-1], valid=np.array([len(made) > 1]))

    monkeypatch.setattr(suites, "_drawn", first_is_bad)
    (task,) = tasks(simulated(("er",), ("linear",), (4,), (30,), 1)[0], 0, "gaussian")
    assert len(made) == 2
    assert np.array_equal(task.table.values.astype(np.float32), made[1].tables[0])


def test_the_recipe_is_of_one_law_and_of_numbers():
    made = recipe("rff", "ws", "gaussian")
    assert (made.families, made.mechanisms, made.noises) == ({"ws": 1.0}, {"fourier": 1.0}, {"gaussian": 1.0})
    assert made.types == {"continuous": 1.0}
    assert len(recipe("linear", "er", "mixed").noises) > 3


@installed
def test_parts_of_a_network_are_a_family_too():
    (cell,) = simulated(("parts",), ("linear",), (12,), (60,), 1)
    (task,) = tasks(cell, 0, "gaussian")
    assert len(task.truth) == 12
    assert task.truth.edges
    assert cell.seen is False


def test_an_unknown_family_is_named():
    with pytest.raises(BadInput, match="'err'"):
        simulated(("err",), ("linear",), (5,), (50,), 1)


def sachs_file(path, rows=860, **changes):
    head = [name.upper() if k % 2 else name for k, name in enumerate(PROTEIN_NAMES)][::-1]
    values = np.random.default_rng(0).lognormal(size=(rows, 11)).round(3) + 0.01
    lines = [[str(v) for v in line] for line in values]
    for place, text in changes.get("cells", {}).items():
        lines[place[0]][place[1]] = text
    path.write_text("\n".join(",".join(line) for line in [changes.get("head", head), *lines]))
    return head, values


def test_sachs_s_measurements_are_read_under_the_graph_s_names(tmp_path):
    head, values = sachs_file(tmp_path / "s.csv")
    names, found = read_sachs(tmp_path / "s.csv")
    assert found.shape == (853, 11)
    for name, column in zip(names, found.T, strict=True):
        place = [PROTEIN_NAMES[other.lower()] for other in head].index(name)
        assert np.allclose(column, values[:853, place])


@installed
def test_sachs_s_measurements_are_asked_about_raw_and_as_logarithms(tmp_path):
    sachs_file(tmp_path / "s.csv")
    bench = DiscoverBench(suites=("sachs",), sachs_csv=tmp_path / "s.csv")
    cells = [cell for cell in bench._cells()[0] if cell.law != "cpt"]
    raw, logs = (next(tasks(cell, 0, "gaussian", tmp_path / "s.csv")) for cell in cells)
    assert [cell.law for cell in cells] == ["raw", "log"]
    assert np.allclose(np.argsort(raw.table.values[:, 0]), np.argsort(logs.table.values[:, 0]))
    assert not np.allclose(raw.table.values, logs.table.values)
    assert len(raw.truth.edges) == 17


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"rows": 100}, "100 rows"),
        ({"head": ["x"] * 11}, "no column 'praf'"),
        ({"cells": {(3, 2): "?"}}, "no number"),
        ({"cells": {(3, 2): "-1"}}, "0 or less"),
    ],
    ids=str,
)
def test_a_file_that_is_not_sachs_s_is_refused(tmp_path, changes, says):
    sachs_file(tmp_path / "s.csv", **changes)
    with pytest.raises(BadInput, match=says):
        read_sachs(tmp_path / "s.csv")
    with pytest.raises(BadInput, match="cannot be read"):
        read_sachs(tmp_path / "none.csv")
