"""SiCL with the shipped network, and its invariances, which hold for any weights."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from intaglio import SiCL
from intaglio.causal.graphs.knowledge import Knowledge
from intaglio.causal.methods.sicl import method, predict
from intaglio.causal.methods.sicl.evidence import column_keys, kind_codes
from intaglio.causal.methods.sicl.networks import inference
from intaglio.causal.methods.sicl.networks.weights import load_network, network_names
from intaglio.causal.methods.sicl.predict import best_f1_threshold
from intaglio.causal.results.discovery import Discovery
from intaglio.causal.simulate import simulator
from intaglio.causal.simulate.recipe import Recipe
from intaglio.causal.tables.assumptions import ExaminedTable
from intaglio.causal.tables.table import Table
from intaglio.errors import BadInput
from intaglio.randomness import numpy_generator
from intaglio.runs.run import Run

SMALL = {"subsamples": 3}
BAD = {"subsamples": -1}
PIECES = {}


def frame(rows=300, seed=0) -> pd.DataFrame:
    """a → c ← b, c → e, c → level; noise alone."""
    rng = np.random.default_rng(seed)
    a, b, noise = rng.standard_normal((3, rows))
    c = a + b + rng.standard_normal(rows)
    e = np.tanh(c) + 0.5 * rng.standard_normal(rows)
    level = np.where(c + rng.standard_normal(rows) > 0.3, "high", "low")
    return pd.DataFrame({"a": a, "b": b, "c": c, "e": e, "level": level, "noise": noise})


def check_same(one: Discovery, two: Discovery, names, atol=1e-5) -> None:
    places = [two.names.index(name) for name in names]
    mine = [one.names.index(name) for name in names]
    assert np.allclose(one.adjacent[np.ix_(mine, mine)], two.adjacent[np.ix_(places, places)], atol=atol)
    assert np.allclose(one.marks[np.ix_(mine, mine)], two.marks[np.ix_(places, places)], atol=atol)
    assert one.graph.reordered(two.names) == two.graph


@pytest.fixture(scope="module")
def usual() -> Discovery:
    return SiCL()(frame())


def test_a_small_graph_is_found(usual):
    pairs = {frozenset({edge.source, edge.target}) for edge in usual.edges}
    assert pairs >= {frozenset("ac"), frozenset("bc"), frozenset("ce")}
    assert ("c", frozenset("ab")) in usual.graph.colliders
    assert usual.adjacent[usual.names.index("noise")].max() < 0.5
    assert usual.graph.kind == "CPDAG"
    assert usual.rows == 300
    centre, *legs = (usual.names.index(name) for name in "cab")
    place = next(k for k, one in enumerate(usual.triples.tolist()) if one[0] == centre and {*one[1:]} == {*legs})
    assert usual.colliders[place] > 0.5


@pytest.mark.parametrize("model", network_names())
def test_every_network_of_the_package_gives_a_class_of_graphs(model):
    found = SiCL(model=model)(frame(120))
    assert found.graph.kind == "CPDAG"
    assert np.allclose(found.marks.sum(-1), 1, atol=1e-6)


def test_the_same_call_gives_the_same_bits(usual):
    again = SiCL()(frame())
    assert np.array_equal(usual.adjacent, again.adjacent)
    assert usual.graph == again.graph


def test_rows_in_another_order_change_nothing(usual):
    check_same(usual, SiCL()(frame().sample(frac=1, random_state=3)), usual.names)


def test_columns_in_another_order_change_nothing(usual):
    check_same(usual, SiCL()(frame()[["noise", "level", "c", "a", "e", "b"]]), usual.names)


def test_units_and_signs_change_nothing(usual):
    changed = frame().assign(a=lambda t: -1e3 * t["a"] + 7, c=lambda t: 0.01 * t["c"] - 5, e=lambda t: -t["e"])
    check_same(usual, SiCL()(changed), usual.names)


def test_ties_fall_the_same_way_whatever_the_units_and_signs_and_the_order_of_rows_and_columns():
    values = np.random.default_rng(5).standard_normal((80, 5))
    values[3, 1] = np.nan
    keys = column_keys(Table.from_frame(values))
    assert len(set(keys)) == 5
    assert column_keys(Table.from_frame(values * [1e-3, -2, 5, 1, -1] + [0, 3, 1e3, -7, 2])) == keys
    assert column_keys(Table.from_frame(values[::-1])) == keys
    assert column_keys(Table.from_frame(values[:, [4, 2, 0, 1, 3]])) == tuple(keys[k] for k in (4, 2, 0, 1, 3))


def test_names_of_levels_and_columns_change_nothing(usual):
    changed = frame().replace({"level": {"high": "B", "low": "A"}})
    check_same(usual, SiCL()(changed), usual.names)
    renamed = SiCL()(frame().rename(columns={"a": "z", "noise": "alpha"}))
    assert np.allclose(renamed.adjacent, usual.adjacent, atol=1e-6)


def test_raw_scales_are_not_read():
    batch = simulator.draw(Recipe(standardise=False, types={"continuous": 1.0}), numpy_generator(77, 0), 3, 8, 200)
    for table in batch.tables.astype(np.float64):
        standard = (table - table.mean(0)) / table.std(0)
        one, two = SiCL()(table), SiCL()(standard)
        assert np.allclose(one.adjacent, two.adjacent, atol=1e-5)
        assert one.graph == two.graph


@pytest.mark.parametrize("columns", [1, 2, 3])
def test_few_columns(columns):
    found = SiCL()(frame()[list("ace")[:columns]])
    assert len(found.graph) == columns
    assert len(found.triples) == 0 or columns == 3


def test_columns_that_take_no_part_stand_alone():
    table = frame().assign(gravity=9.81, twin=lambda t: 2 * t["a"] + 1)
    found = SiCL()(table)
    assert found.isolated == ("gravity",)
    assert found.duplicates == (("a", "twin"),)
    for name in ("gravity", "twin"):
        assert not found.graph.adjacent(name)
        assert not found.adjacent[found.names.index(name)].any()
    assert found.names == tuple(table.columns)


def test_gaps_are_read_as_gaps():
    table = frame()
    table = table.mask(np.random.default_rng(0).random(table.shape) < 0.1)
    found = SiCL()(table)
    assert {frozenset("ac"), frozenset("bc")} <= {frozenset({e.source, e.target}) for e in found.edges}


def test_knowledge_is_kept(usual):
    known = Knowledge(required=(("e", "noise"),), apart=(("a", "c"),), tiers=(("level",), ("c",)))
    found = SiCL()(frame(), knowledge=known)
    assert found.graph.kind == "MPDAG"
    assert "noise" in found.graph.children("e")
    assert "c" not in found.graph.adjacent("a")
    assert "level" not in found.graph.children("c")
    assert np.array_equal(found.adjacent, usual.adjacent)  # the network's own probabilities stay


def test_arrows_that_knowledge_settles_are_sure_and_what_follows_takes_what_was_open():
    chain = np.random.default_rng(0).standard_normal((400, 4)).cumsum(1)
    usual = SiCL()(chain)
    alone, names = usual.graph, usual.names
    assert np.array_equal(np.argwhere(np.triu(alone.undirected)), [[0, 1], [1, 2], [2, 3]])
    i, j = 1, 2
    found = SiCL()(chain, knowledge=Knowledge(required=((names[i], names[j]),)))
    assert found.marks[i, j].tolist() == [1, 0, 0]
    assert found.marks[j, i].tolist() == [0, 1, 0]
    np.testing.assert_allclose(found.marks.sum(-1), 1)
    np.testing.assert_allclose(found.marks[..., 0], found.marks[..., 1].T, atol=1e-12)
    for edge in found.edges:
        a, b = names.index(edge.source), names.index(edge.target)
        if (a, b) == (i, j):
            continue
        was = usual.marks[a, b]
        follows = edge.mark == "-->" and alone.undirected[a, b]
        expected = [was[0] + was[2], was[1], 0] if follows else was
        np.testing.assert_allclose(found.marks[a, b], expected, atol=1e-9)


@pytest.mark.parametrize(("rows", "said"), [(20, True), (60, False)])
def test_a_table_of_hardly_any_rows_is_warned_of(rows, said):
    found = SiCL()(np.random.default_rng(0).standard_normal((rows, 4)))
    assert any("even independent columns" in text for text in found.warnings) == said


def test_a_graph_of_all_edges_is_said_to_rule_nothing_out():
    common = np.random.default_rng(1).standard_normal((400, 1))
    noisy = common + 0.7 * np.random.default_rng(2).standard_normal((400, 4))
    found = SiCL()(noisy)
    assert len(found.edges) == 6
    assert any("every pair is adjacent" in text for text in found.warnings)
    assert not any("every pair" in text for text in SiCL()(frame()).warnings)


def test_what_is_known_of_a_column_that_takes_no_part_is_said():
    found = SiCL()(frame().assign(gravity=9.81), knowledge=Knowledge(required=(("gravity", "a"),)))
    assert any("'gravity' cannot be used" in warning for warning in found.warnings)


def test_wrong_knowledge_is_refused_before_any_network_is_read(monkeypatch):
    monkeypatch.setattr(method, "load_network", lambda *args, **options: pytest.fail("read too early"))
    with pytest.raises(BadInput, match="sleet"):
        SiCL()(frame(), knowledge=Knowledge(required=(("sleet", "a"),)))


def test_thresholds_move_the_skeleton(usual):
    few, many = (SiCL(threshold=line, refine=0.0)(frame()).graph.skeleton.sum() for line in (0.999, 0.01))
    plain = SiCL(refine=0.0)(frame())
    assert few <= plain.graph.skeleton.sum() <= many
    assert np.array_equal(plain.graph.skeleton, plain.adjacent > 0.5)
    never = SiCL(collider_threshold=0.9999999, refine=0.0)(frame())
    assert not never.graph.colliders


def test_the_f1_threshold_is_the_best_of_all_cuts():
    rng = np.random.default_rng(1)
    p = rng.random(21) ** 2
    flat = np.sort(p)[::-1]
    expected = [2 * flat[:m].sum() / (m + flat.sum()) for m in range(1, len(flat) + 1)]
    assert (flat > best_f1_threshold(p)).sum() == 1 + int(np.argmax(expected))
    assert best_f1_threshold(np.zeros(0)) == 0.5
    assert SiCL(threshold="f1")(frame()).graph.kind == "CPDAG"


@pytest.fixture
def opened(tmp_path):
    def run():
        return Run.open(tmp_path, "discover", "sicl", {}, {}, seed=0, device="cpu", command=(), progress="none")

    return run


def test_subsamples_tell_how_stable_edges_are(usual):
    found = SiCL(subsamples=6)(frame())
    assert np.array_equal(found.adjacent, usual.adjacent)
    assert np.allclose(found.frequencies.sum(-1)[~np.eye(6, dtype=bool)], 1)
    i, j = (found.names.index(name) for name in "ac")
    assert found.frequencies[i, j, 0] < 0.5
    assert found.spread[i, j] == found.spread[j, i]
    assert np.array_equal(found.frequencies[i, j, [0, 2, 1, 3]], found.frequencies[j, i])
    again = SiCL(subsamples=6)(frame())
    assert np.array_equal(found.spread, again.spread)
    assert not np.array_equal(found.spread, SiCL(subsamples=6, seed=1)(frame()).spread)


def test_a_killed_search_ends_as_an_undisturbed_one_does(opened, monkeypatch):
    whole = SiCL(subsamples=4)(frame())
    real, calls = predict.predict_graph, []

    def cut(*args, **options):
        calls.append(1)
        if len(calls) == 4:
            raise RuntimeError("the power went")
        return real(*args, **options)

    search = SiCL(subsamples=4)
    with monkeypatch.context() as patched, opened() as run:
        patched.setattr(predict, "predict_graph", cut)
        with pytest.raises(RuntimeError, match="power"):
            search(frame(), run=run)
    calls.clear()
    monkeypatch.setattr(predict, "predict_graph", lambda *a, **o: calls.append(1) or real(*a, **o))
    with opened() as run:
        again = search(frame(), run=run)
        assert len(calls) < 5
        assert run.load_state(method.STATE) is not None
        search.forget(run)
        assert run.load_state(method.STATE) is None
    assert np.array_equal(whole.spread, again.spread)
    assert np.array_equal(whole.frequencies, again.frequencies)


def test_a_table_unlike_the_training_is_told():
    rng = np.random.default_rng(0)
    wild = np.tan(np.pi * (rng.random((60_000, 6)) - 0.5)) ** 3
    found = SiCL()(wild)
    assert found.ood_score > 0.2
    assert any("unlike those that the network was trained on" in warning for warning in found.warnings)
    assert not any("unlike" in warning for warning in SiCL()(frame()).warnings)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"threshold": 1.0}, "threshold must lie between 0 and 1"),
        ({"collider_threshold": 0.0}, "collider_threshold must lie"),
        ({"subsamples": -1}, "subsamples must not be negative"),
        ({"refine": -0.5}, "refine must be auto, or 0 or more"),
        ({"seed": -1}, "seed must not be negative"),
    ],
)
def test_wrong_settings_are_named(wrong, words):
    with pytest.raises(ValueError, match=words):
        SiCL(**wrong)


def test_an_unknown_network_is_named_with_those_there_are():
    with pytest.raises(BadInput, match=r"heavy is neither a folder nor a network of the package: .*light"):
        SiCL(model="heavy")(frame())


def test_rows_are_read_in_an_order_of_their_own():
    table = Table.from_frame(frame())
    kinds = kind_codes(table)
    arranged = inference.canonical_table(table.values, kinds)
    order = np.random.default_rng(0).permutation(len(table))
    assert np.array_equal(arranged, inference.canonical_table(table.values[order], kinds))
    columns = [3, 1, 0, 5, 2, 4]
    assert np.array_equal(arranged[:, columns], inference.canonical_table(table.values[:, columns], kinds[columns]))
    turned = table.values * np.array([-1, 1, -1, 1, 1, 1])
    assert np.allclose(arranged, inference.canonical_table(turned, kinds) * np.array([1, 1, 1, 1, 1, 1]))
    assert sorted(arranged[:, 4]) == sorted(table.values[:, 4])


def test_pieces_cover_equal_stretches_of_the_rows():
    assert inference._pieces(30, 48, 4) == [slice(0, 30)]
    assert inference._pieces(100, 48, 4) == [slice(0, 48), slice(48, 96)]
    assert len(inference._pieces(100_000, 48, 4)) == 4


def test_weights_are_those_that_a_run_records():
    told = SiCL().weights()["network"]
    assert told["sha256"] == load_network("light").fingerprint
    assert len(told["sha256"]) == 64


def test_no_global_state_is_touched():
    before = torch.random.get_rng_state(), torch.get_default_dtype(), torch.get_num_threads()
    SiCL()(frame(60))
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert before[1:] == (torch.get_default_dtype(), torch.get_num_threads())


def test_a_refinement_weight_of_zero_is_the_network_alone():
    table = ExaminedTable(Table.from_frame(frame()))
    network = replace(load_network("light"), score_weights={})
    options = {"threshold": 0.5, "collider_threshold": 0.5, "knowledge": Knowledge()}
    alone, none = (predict.predict_graph(network, table, refine=weight, **options) for weight in ("auto", 0.0))
    assert alone.decoded.graph == none.decoded.graph
    strong = predict.predict_graph(network, table, refine=50.0, **options)
    assert np.array_equal(strong.adjacent, none.adjacent)
