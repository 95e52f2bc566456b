"""SPOT on planted graphs: hidden causes found, knowledge kept to, units without effect, the posterior's part in it."""

from dataclasses import replace
from itertools import count
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from intaglio import SPOT
from intaglio.causal.confounding import restart_search
from intaglio.causal.confounding.class_repair import Edges
from intaglio.causal.confounding.likelihood_learner import LikelihoodLearner
from intaglio.causal.graphs.admg import ADMG
from intaglio.causal.graphs.knowledge import Knowledge
from intaglio.causal.methods.spot import half_samples, method
from intaglio.causal.methods.spot.cascade import SHIPPED, shipped_cascade
from intaglio.causal.methods.spot.network_posterior import SHIPPED_CALIBRATION
from intaglio.causal.methods.spot.posterior import SkeletonProbabilities
from intaglio.causal.tables.normal_scores import normal_scores
from intaglio.errors import BadInput
from intaglio.runs.run import Run
from linear_admgs import VERMA, rows_of

SMALL = {"restarts": 3, "steps": 15, "stages": 4, "half_samples": 2}
BAD = {"restarts": 0}
PIECES = {}
VARIANTS = {
    "mask": {"SMALL": {"guidance": "mask"}, "BAD": {"half_samples": -1}, "PIECES": {}},
    "prior": {"SMALL": {"guidance": "prior"}, "BAD": {"least_probability": 1.5}, "PIECES": {}},
    "none": {"SMALL": {"guidance": "none"}, "BAD": {"steps": 0}, "PIECES": {}},
    "network": {"SMALL": {"posterior": "network"}, "BAD": {"vicinal": 3}, "PIECES": {}},
    "without-hidden-causes": {"SMALL": {"hidden_causes": False}, "BAD": {"searched": 0}, "PIECES": {}},
}
QUICK = {"restarts": 4, "steps": 40, "stages": 8, "half_samples": 1}
COLLIDER = [("x", "-->", "a"), ("y", "-->", "a"), ("a", "-->", "b")]


def truth(edges, names="abcd"):
    return ADMG.of(names, edges)


def found(edges, names="abcd", rows=1000, seed=0, table=None, **changes):
    given = rows_of(truth(edges, names), rows, seed) if table is None else table
    call = {key: changes.pop(key) for key in ("knowledge", "kinds", "run") if key in changes}
    return SPOT(**{**QUICK, **changes})(given, **call)


def alike(one, two) -> bool:
    same = one.graph == two.graph and one.warnings == two.warnings
    return same and all(np.array_equal(getattr(one, name), getattr(two, name)) for name in ("marks", "adjacent"))


def sure(monkeypatch, value: float = 1.0):
    """Lets every pair have this probability, and be open to every step."""

    def skeleton(self, table, rows, run):
        d = len(table.names)
        return SkeletonProbabilities(table.names, np.full((d, d), value), np.ones((d, d)))

    monkeypatch.setattr(SPOT, "_skeleton", skeleton)


@pytest.mark.parametrize("guidance", ["both", "mask", "prior", "none"])
def test_the_chain_with_a_hidden_cause_gives_its_pag(guidance):
    made = found(VERMA, rows=2000, guidance=guidance)
    assert made.graph == truth(VERMA).mag().pag()
    assert made.graph.kind == "PAG"


def test_a_hidden_cause_between_two_effects_is_told_from_an_arrow():
    """x → a ↔ b ← y: both marks are arrows, and no arrow between a and b could have made that."""
    edges = [("x", "-->", "a"), ("y", "-->", "b"), ("a", "<->", "b")]
    made = found(edges, "xyab", rows=2000, seed=1)
    assert {str(edge) for edge in made.edges} == {"x o-> a", "y o-> b", "a <-> b"}
    (double,) = (edge for edge in made.edges if edge.mark == "<->")
    assert double.p_source_arrow > 0.5
    assert double.p_target_arrow > 0.5


def test_without_hidden_causes_the_result_is_the_cpdag():
    made = found(COLLIDER, "xyab", hidden_causes=False)
    assert made.graph.kind == "CPDAG"
    assert {str(edge) for edge in made.edges} == {"x --> a", "y --> a", "a --> b"}
    chain = found([("a", "-->", "b"), ("b", "-->", "c")], "abc", hidden_causes=False)
    assert {str(edge) for edge in chain.edges} == {"a --- b", "b --- c"}


def test_without_hidden_causes_knowledge_makes_an_mpdag():
    known = Knowledge(required=(("a", "b"),))
    made = found([("a", "-->", "b"), ("b", "-->", "c")], "abc", hidden_causes=False, knowledge=known)
    assert made.graph.kind == "MPDAG"
    assert {str(edge) for edge in made.edges} == {"a --> b", "b --> c"}  # else b would be a collider


def test_without_hidden_causes_a_hidden_one_is_no_double_arrow():
    edges = [("x", "-->", "a"), ("y", "-->", "b"), ("a", "<->", "b")]
    made = found(edges, "xyab", rows=2000, seed=1, hidden_causes=False)
    assert {edge.mark for edge in made.edges} <= {"-->", "---"}
    assert {frozenset((edge.source, edge.target)) for edge in made.edges} >= {frozenset("ab")}


def test_units_do_not_matter():
    table = rows_of(truth(VERMA), 600)
    scales = zip("abcd", (1e-3, -40, 7, 1e5), strict=True)
    other = pd.DataFrame({name: 3 + scale * table[name] for name, scale in scales})
    one, two = found(VERMA, table=table), found(VERMA, table=other)
    assert one.graph == two.graph
    assert np.allclose(one.marks, two.marks, atol=1e-6)
    assert np.allclose(one.adjacent, two.adjacent, atol=1e-9)


def test_what_is_known_stands_in_the_graph_and_in_the_probabilities():
    known = Knowledge(required=(("a", "b"),), forbidden=(("b", "c"), ("c", "b")))
    made = found([("a", "-->", "b"), ("b", "-->", "c")], "abc", knowledge=known)
    signs = {frozenset((edge.source, edge.target)): str(edge) for edge in made.edges}
    assert signs[frozenset("ab")] == "a --> b"
    assert signs[frozenset("bc")] == "b <-> c"
    assert made.adjacent[0, 1] == made.adjacent[1, 0] == 1
    apart = found([("a", "-->", "b"), ("b", "-->", "c")], "abc", knowledge=Knowledge(apart=(("a", "b"),)))
    assert frozenset("ab") not in {frozenset((edge.source, edge.target)) for edge in apart.edges}
    assert apart.adjacent[0, 1] == 0
    joined = found([("a", "-->", "b")], "abc", knowledge=Knowledge(adjacent=(("a", "c"),), forbidden=(("a", "c"),)))
    assert {"a", "c"} in [{edge.source, edge.target} for edge in joined.edges]
    assert joined.graph.marks[2, 0] == 2  # an arrow at a, since a → c may not be
    assert joined.adjacent[0, 2] == 1


def test_what_is_required_stands_against_a_posterior_that_rules_it_out(monkeypatch):
    sure(monkeypatch, 0.0)
    made = found([("a", "-->", "b")], "abc", knowledge=Knowledge(required=(("a", "c"),)), least_probability=0.5)
    assert "a --> c" in {str(edge) for edge in made.edges}


def test_without_a_posterior_of_any_pair_the_graph_is_empty(monkeypatch):
    sure(monkeypatch, 0.0)
    weak = rows_of(truth([("a", "-->", "b")], "ab"), 60, least=0.05).assign(c=np.random.default_rng(9).normal(size=60))
    assert found([], table=weak).edges == ()


def test_no_edge_is_found_in_noise():
    noise = pd.DataFrame(np.random.default_rng(0).standard_normal((1000, 5)), columns=list("abcde"))
    made = found([], table=noise)
    assert made.edges == ()
    assert made.adjacent.max() < 0.5


def test_masks_that_are_always_open_change_nothing(monkeypatch):
    """Guidance by masks with s = u = 1 equals none, as both have the same draws."""
    plain = found(VERMA, rows=100, guidance="none")
    sure(monkeypatch)
    masked, none = (found(VERMA, rows=100, guidance=guidance) for guidance in ("mask", "none"))
    assert alike(masked, none)
    assert masked.graph == plain.graph
    assert np.array_equal(masked.marks, plain.marks)
    assert (masked.adjacent + np.eye(4) == 1).all()


def test_a_mask_leaves_closed_pairs_where_they_are(monkeypatch):
    """Without a search over single edges, pairs that no step may change stay without an edge."""

    def skeleton(self, table, rows, run):
        s = np.full((3, 3), 0.5)
        u = np.ones((3, 3))
        u[0, 1] = u[1, 0] = 0.0
        return SkeletonProbabilities(table.names, s, u)

    monkeypatch.setattr(SPOT, "_skeleton", skeleton)
    edges = [("a", "-->", "b"), ("b", "-->", "c")]
    made = found(edges, "abc", guidance="mask", sweeps=0, half_samples=0)
    assert frozenset("ab") not in {frozenset((edge.source, edge.target)) for edge in made.edges}
    other = found(edges, "abc", guidance="none", sweeps=0, half_samples=0)
    assert frozenset("ab") in {frozenset((edge.source, edge.target)) for edge in other.edges}


def test_the_prior_moves_the_weights_of_pairs(monkeypatch):
    """An edge that the rows favour a little goes where the posterior is against it, and stays where it is for it."""
    a, noise = np.random.default_rng(0).standard_normal((2, 200))
    table = pd.DataFrame({"a": a, "b": 0.25 * a + noise})
    edges = {}
    for value in (1e-3, 0.999):
        sure(monkeypatch, value)
        edges[value] = found([], table=table, guidance="prior", least_probability=0.0).edges
    assert edges[1e-3] == ()
    assert [frozenset((edge.source, edge.target)) for edge in edges[0.999]] == [frozenset("ab")]


def test_a_posterior_from_a_file_is_that_of_the_file(tmp_path):
    table, path, cascade = rows_of(truth(VERMA), 100), tmp_path / "own.safetensors", shipped_cascade()
    other = {hidden: replace(one, offset=one.offset + 2) for hidden, one in cascade.calibrations.items()}
    replace(cascade, calibrations=other).save(path)
    one, two = (
        found([], table=table, **{**SMALL, "half_samples": 0, "posterior": which}) for which in (str(path), "cascade")
    )
    upper = np.triu_indices(4, 1)
    assert (one.adjacent[upper] >= two.adjacent[upper]).all()
    assert (one.adjacent[upper] > two.adjacent[upper]).any()
    assert SPOT(posterior=str(path)).weights()["posterior"]["path"] == str(path)
    assert SPOT().weights()["posterior"]["path"] == str(SHIPPED)


def test_vicinal_data_sets_change_the_posterior_and_need_a_cascade():
    edges, cheap = [("a", "-->", "b"), ("b", "-->", "c")], {**SMALL, "half_samples": 0, "hidden_causes": False}
    plain, tuned = (found(edges, "abcd", rows=150, vicinal=count, **cheap) for count in (0, 8))
    assert not np.array_equal(plain.adjacent, tuned.adjacent)
    assert tuned.graph == plain.graph
    with pytest.raises(BadInput, match="is no cascade"):
        found(edges, "abc", rows=150, vicinal=8, posterior=str(SHIPPED_CALIBRATION))
    with pytest.raises(ValueError, match="vicinal tunes a cascade"):
        SPOT(vicinal=8, posterior="network")


def test_a_posterior_that_is_no_file_is_refused_by_name(tmp_path):
    with pytest.raises(BadInput, match="none.safetensors"):
        found(VERMA, posterior=str(tmp_path / "none.safetensors"))


def test_sizes_outside_of_the_simulations_are_told():
    told = found(VERMA, rows=60, **{**SMALL, "sweeps": 1}).warnings
    assert any(words.startswith("60 rows are outside of the") for words in told)


@pytest.mark.parametrize("killed_in", ["gradients", "halves"])
def test_killed_and_resumed_it_ends_alike(tmp_path, monkeypatch, killed_in):
    table, kept = rows_of(truth(VERMA), 300), Run.save_state
    settings = {**SMALL, "half_samples": 3}
    whole, calls = found([], table=table, **settings), []
    place, name = (LikelihoodLearner, "_round") if killed_in == "gradients" else (half_samples, "improved")
    real = getattr(place, name)

    def counted(*given):
        calls.append(1)
        if alive and len(calls) == 3:
            raise KeyboardInterrupt
        return real(*given)

    def opened():
        return Run.open(tmp_path, "discover", "spot", {}, {}, seed=0, device="cpu", command=(), progress="none")

    monkeypatch.setattr(place, name, counted)
    monkeypatch.setattr(Run, "save_state", lambda run, *given, every_s=0.0: kept(run, *given))
    alive = True
    with pytest.raises(KeyboardInterrupt), opened() as run:
        found([], table=table, run=run, **settings)
    alive = False
    calls.clear()
    with opened() as run:
        again = found([], table=table, run=run, **settings)
        assert alike(again, whole)
        assert len(calls) == (SMALL["stages"] - 2 if killed_in == "gradients" else 1)
        SPOT().forget(run)
        assert run.load_state(half_samples.STATE) is None
        assert run.load_state(method.STATE) is None


def test_the_time_limit_ends_the_search_with_a_graph_and_says_so():
    made = found(VERMA, time_limit=1e-6)
    assert any("the time limit of 1e-06 s" in warning for warning in made.warnings)
    assert made.graph.kind == "PAG"


def test_a_search_that_takes_all_of_its_time_leaves_a_fifth_for_the_halves(monkeypatch):
    """A clock that goes on by a second whenever it is read."""
    ticks, left = count(), []

    def endless(edges, scores, allowed, pairs, sweeps, random, in_time, costs):
        while in_time():
            pass
        return edges, 0.0

    def halves(*given, **named):
        in_time = given[7]
        while in_time():
            left.append(1)
        return []

    monkeypatch.setattr(restart_search, "time", SimpleNamespace(monotonic=lambda: next(ticks)))
    monkeypatch.setattr(restart_search, "improved", endless)
    monkeypatch.setattr(method, "half_sample_graphs", halves)
    made = found(COLLIDER, "xyab", time_limit=1000.0, **{**SMALL, "half_samples": 2})
    assert 180 < len(left) <= 200
    assert any("the time limit of 1000 s" in warning for warning in made.warnings)
    left.clear()
    found(COLLIDER, "xyab", time_limit=1000.0, **{**SMALL, "half_samples": 0})
    assert len(left) < 20


def test_half_samples_have_half_of_the_weight_of_the_marks(monkeypatch):
    """Restarts end at x → a ← y, a → b; halves that end at x → a → y, a → b have no certain arrow."""
    other = truth([("x", "-->", "a"), ("a", "-->", "y"), ("a", "-->", "b")], "xyab")
    halves = [Edges(np.array(other.directed), np.array(other.bidirected))] * 2
    whole = found(COLLIDER, "xyab", seed=1, hidden_causes=False, half_samples=0)
    assert whole.marks[0, 2, 0] > 0.5
    monkeypatch.setattr(method, "half_sample_graphs", lambda *given, **named: halves)
    made = found(COLLIDER, "xyab", seed=1, hidden_causes=False)
    assert made.graph == whole.graph
    assert made.marks[0, 2, 0] == pytest.approx(whole.marks[0, 2, 0] / 2)
    assert "random halves of the rows" in made.reading


def test_rows_whose_halves_have_no_covariance_with_an_inverse_have_no_half_samples():
    assert found(COLLIDER, "xyab", rows=10, half_samples=3).graph.kind == "PAG"


def test_constant_and_repeated_columns_take_no_part():
    table = rows_of(truth(VERMA), 300).assign(one=1.0)
    table["copy"] = 2 * table["a"]
    made = found([], table=table)
    assert made.isolated == ("one",)
    assert made.duplicates == (("a", "copy"),)
    assert {"one", "copy"}.isdisjoint({name for edge in made.edges for name in (edge.source, edge.target)})


def test_levels_without_order_missing_cells_and_dependent_columns_are_refused_by_their_names():
    table = rows_of(truth(VERMA), 300)
    with pytest.raises(BadInput, match="town: levels without an order"):
        found([], table=table.assign(town=np.resize(["x", "y", "z"], 300)))
    with pytest.raises(BadInput, match="a, c, total are linearly dependent"):
        found([], table=table.assign(total=table["a"] + table["c"]))
    table.loc[:4, "c"] = np.nan
    with pytest.raises(BadInput, match=r"missing cells in c \(5\)"):
        found([], table=table)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("stages", 31),
        ("sweeps", -1),
        ("threshold", 0.0),
        ("time_limit", float("inf")),
        ("restarts", 1001),
        ("seed", -1),
        ("least_probability", -0.1),
        ("least_share", 1.1),
    ],
)
def test_settings_out_of_range_are_refused_by_name(setting, value):
    with pytest.raises(ValueError, match=setting):
        SPOT(**{setting: value})


def test_repeated_rows_count_once_and_two_columns_have_the_odds_of_the_bic():
    a, e = np.random.default_rng(0).standard_normal((2, 60))
    rows = pd.DataFrame({"a": a, "b": 0.4 * a + e})
    once, often = found([], table=rows), found([], table=pd.concat([rows] * 20, ignore_index=True))
    r = np.corrcoef(normal_scores(rows.a.to_numpy()), normal_scores(rows.b.to_numpy()))[0, 1]
    odds = np.exp(0.5 * (-60 * np.log(1 - r**2) - np.log(60)))
    assert 0.2 < once.adjacent[0, 1] < 0.8
    for made in (once, often):
        assert made.adjacent[0, 1] == pytest.approx(odds / (1 + odds), rel=1e-6)
    assert any("counts each once" in warning for warning in often.warnings)


def test_dependent_rows_count_as_their_effective_number():
    random = np.random.default_rng(0)
    series = np.zeros((600, 6))
    for step in range(1, 600):
        series[step] = 0.9 * series[step - 1] + random.standard_normal(6)
    made = found([], table=pd.DataFrame(series, columns=list("abcdef")))
    assert any("counts them as so many" in warning for warning in made.warnings)
    assert not any("--latent" in warning for warning in made.warnings)
    assert len(made.edges) <= 2
