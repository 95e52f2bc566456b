"""CD-NOD: planted changes, the oracle on all small graphs, invariances, bad input, time limits."""

import json
from dataclasses import asdict, replace
from itertools import combinations, product

import numpy as np
import pandas as pd
import pytest

from intaglio import CDNOD
from intaglio.causal.graphs.graph import Graph
from intaglio.causal.graphs.knowledge import Knowledge
from intaglio.causal.graphs.separation import separated
from intaglio.causal.methods.cd_nod import answers, method
from intaglio.causal.methods.cd_nod.answers import Answers
from intaglio.causal.methods.cd_nod.orientation import PartialDag, nearest, orient
from intaglio.causal.methods.cd_nod.skeleton import Skeleton, SkeletonSearch
from intaglio.causal.results.changes import Changes
from intaglio.causal.results.discovery import Discovery
from intaglio.causal.tables.table import Table
from intaglio.errors import BadInput
from intaglio.runs.run import Run

SMALL = {"depth": 1}
BAD = {"alpha": 0.0}
PIECES = {}
VARIANTS = {
    "linear": {"SMALL": {"test": "partial-correlation"}, "BAD": {"depth": 9}, "PIECES": {}},
    "features": {"SMALL": {"test": "rcit"}, "BAD": {"min_regimes": 1}, "PIECES": {}},
}


def sites(rows=400, count=10, seed=0) -> pd.DataFrame:
    """a → b → c and d → e ← c; the variances of a and d, and the mean of b, differ by site."""
    random = np.random.default_rng(seed)
    site = np.arange(rows) * count // rows

    def by_site():
        return random.standard_normal(count)[site]

    a = np.exp(0.8 * by_site()) * random.standard_normal(rows)
    b = a + 1.5 * by_site() + 0.6 * random.standard_normal(rows)
    c = 0.8 * b + 0.5 * random.standard_normal(rows)
    d = np.exp(0.8 * by_site()) * random.standard_normal(rows)
    e = 0.8 * c + 0.8 * d + 0.5 * random.standard_normal(rows)
    names = np.array([f"s{k:02d}" for k in range(count)])
    return pd.DataFrame({"a": a, "b": b, "c": c, "d": d, "e": e, "site": names[site]})


@pytest.fixture(scope="module")
def usual() -> Discovery:
    return CDNOD(context="site")(sites())


def drift(rows=300, seed=0) -> pd.DataFrame:
    """y ← x → z, where the mean of x drifts."""
    random = np.random.default_rng(seed)
    time = np.arange(rows) / rows
    x = 1.5 * np.sin(7 * time) + 0.7 * random.standard_normal(rows)
    y, z = 0.8 * x + 0.5 * random.standard_normal((2, rows))
    return pd.DataFrame({"x": x, "y": y, "z": z, "when": 1990 + 30 * time})


def test_changes_over_sites_are_found_with_the_graph(usual):
    assert usual.changes is not None
    assert set(usual.changes.changing) == {"a", "b", "d"}
    assert usual.changes.kind == "domain"
    assert usual.names == ("a", "b", "c", "d", "e")
    pairs = {frozenset({edge.source, edge.target}) for edge in usual.edges}
    assert pairs == {frozenset("ab"), frozenset("bc"), frozenset("ce"), frozenset("de")}
    arrows = {(edge.source, edge.target) for edge in usual.edges if edge.mark == "-->"}
    assert arrows >= {("b", "c"), ("c", "e"), ("d", "e")}
    assert ("b", "a") not in arrows


def test_every_arrow_has_its_rule_and_every_pair_its_test(usual):
    told = {(one.source, one.target): one.rule for one in usual.changes.reasons}
    assert set(told) == {(edge.source, edge.target) for edge in usual.edges if edge.mark == "-->"}
    assert told["b", "c"] == "invariance"
    assert len(usual.changes.pairs) == 6 * 5 // 2
    for pair in usual.changes.pairs:
        assert (pair.p > usual.changes.alpha) == (not pair.adjacent)
        assert (pair.given is None) == pair.adjacent


def test_drift_over_times_is_found_and_separates_its_effects():
    found = CDNOD(context="when")(drift())
    assert found.changes.changing == ("x",)
    assert found.changes.kind == "time"
    assert {(edge.source, edge.target, edge.mark) for edge in found.edges} == {("x", "y", "-->"), ("x", "z", "-->")}
    by_rows = CDNOD()(drift().drop(columns="when"))
    assert by_rows.changes.changing == ("x",)
    assert by_rows.changes.context == ""
    (force,) = found.changes.forces
    # A mean that drifts is one curve: its leading component follows the drift.
    curve, drove = np.array(force.components[0]), 1.5 * np.sin(7 * (np.array(force.at) - 1990) / 30)
    assert abs(np.corrcoef(curve, drove)[0, 1]) > 0.9


def test_what_is_saved_is_read_again_with_all_tests_and_curves(usual, tmp_path):
    usual.save(tmp_path / "found")
    again = Discovery.load(tmp_path / "found")
    assert again.changes == usual.changes
    assert again.to_dict() == usual.to_dict()
    damaged = usual.to_dict() | {"changes": asdict(usual.changes) | {"kind": "season"}}
    with pytest.raises(ValueError, match="season"):
        Discovery.from_dict(json.loads(json.dumps(damaged)))


def test_runs_without_changes_stay_readable(usual):
    plain = {key: value for key, value in usual.to_dict().items() if key != "changes"}
    assert Discovery.from_dict(plain).changes is None
    assert "changes" not in replace(usual, changes=None).to_dict()


def test_what_a_line_means_is_told_where_there_is_one(usual):
    lines = replace(usual, graph=Graph.of("CPDAG", usual.names, [("a", "---", "b")]))
    arrows = replace(usual, graph=Graph.of("MPDAG", usual.names, [("a", "-->", "b")]))
    assert "--- means that the data cannot tell" in lines.summary()
    assert "---" not in arrows.summary()
    assert "(1 test, kci)" in replace(usual, changes=replace(usual.changes, tests=1)).summary()


def test_the_summary_says_which_mechanisms_change_and_why_each_edge_points(usual):
    said = usual.summary()
    assert "Mechanisms of a, b, d change with 'site' (domains)." in said
    assert "one end changes with the context and the other does not" in said
    assert usual.reading.startswith("Decided by tests")
    assert set(usual.adjacent.ravel()) == {0.0, 1.0}
    assert "probability" not in said.partition("no probability of the edge")[0]


# The oracle: every graph of three variables and a context


class Oracle:
    """d-separation in a true graph, as p-values of 1 and 0."""

    def __init__(self, marks):
        self.marks = marks

    def p_values(self, pairs, given):
        return np.array([1.0 if separated(self.marks, x, y, given) else 0.0 for x, y in pairs])


def dags(variables):
    """Every DAG, as boolean matrices."""
    pairs = list(combinations(range(variables), 2))
    for signs in product((0, 1, 2), repeat=len(pairs)):
        dag = np.zeros((variables, variables), bool)
        for (i, j), sign in zip(pairs, signs, strict=True):
            dag[i, j], dag[j, i] = sign == 1, sign == 2
        power, acyclic = dag.astype(int), True
        for _ in range(variables):
            acyclic &= not power.trace()
            power = power @ dag
        if acyclic:
            yield dag


def with_context():
    """Every DAG of three variables, with every set of them as children of a fourth that has no parent."""
    for dag in dags(3):
        for children in product((False, True), repeat=3):
            whole = np.zeros((4, 4), bool)
            whole[:3, :3], whole[3, :3] = dag, children
            yield whole


def equivalence(dag):
    """Skeleton and unshielded colliders, which DAGs of one Markov equivalence class share."""
    near = dag | dag.T
    colliders = {
        (k, i, j) for k in range(4) for i, j in combinations(range(4), 2) if dag[i, k] and dag[j, k] and not near[i, j]
    }
    return near.tobytes(), frozenset(colliders)


def oriented(dag, **known):
    """The orientation that a search with the oracle ends with."""
    graph = Graph.from_adjacency("DAG", dag)
    context = graph.names[-1]
    knowledge = Knowledge(forbidden=tuple((name, context) for name in graph.names[:-1]), **known)
    constraints = knowledge.constraints(graph.names)
    search = SkeletonSearch(Oracle(graph.marks), Answers(Run.none()), alpha=0.05, depth=2)
    found = search(constraints.adjacent, constraints.apart, late=lambda: False, finished=lambda _: None)
    return orient(found, constraints)


def test_with_an_oracle_every_graph_of_three_variables_and_a_context_gives_exactly_its_class():
    whole = list(with_context())
    classes = {}
    for dag in whole:
        classes.setdefault(equivalence(dag), []).append(dag)
    for dag in whole:
        members = np.stack(classes[equivalence(dag)])
        always = members.all(0)
        found = oriented(dag)
        assert np.array_equal(found.directed, always)
        assert np.array_equal(found.undirected, members.any(0) & members.any(0).T)
        assert not found.directed[:, 3].any(), "the context has a cause"
        assert not found.conflicts
        assert not found.fallback
    assert len(whole) == 25 * 8


def test_every_edge_between_a_changing_and_an_unchanging_variable_is_directed():
    for dag in with_context():
        changing, found = dag[3, :3], oriented(dag)
        mixed = changing[:, None] != changing
        assert not (found.undirected[:3, :3] & mixed).any()


def test_knowledge_orients_what_data_cannot():
    chain = np.zeros((3, 3), bool)
    chain[0, 1] = True  # nothing changes: x0 — x1, and a context apart
    assert oriented(chain).undirected[0, 1]
    found = oriented(chain, required=(("x0", "x1"),))
    assert found.directed[0, 1]
    assert found.reasons[0, 1] == "knowledge"


def wrong_skeleton(separating):
    """A ring of four variables without a chord, and a context apart."""
    ring = np.zeros((5, 5), bool)
    for i in range(4):
        ring[i, (i + 1) % 4] = ring[(i + 1) % 4, i] = True
    sets = dict.fromkeys(((k, 4) for k in range(4)), ()) | separating
    return Skeleton(ring, sets, np.full((5, 5), 0.5))


def test_tests_that_fit_no_graph_give_the_nearest_one_and_say_so():
    nobody = Knowledge().constraints(tuple("abcde"))
    found = orient(wrong_skeleton({(0, 2): (1, 3), (1, 3): (0, 2)}), nobody)
    assert found.fallback
    assert found.consistent()
    assert np.array_equal(found.directed | found.directed.T | found.undirected, wrong_skeleton({}).adjacent)
    fitting = orient(wrong_skeleton({(0, 2): (1, 3), (1, 3): (0,)}), nobody)
    assert not fitting.fallback
    assert fitting.directed[1, 2]
    assert fitting.directed[3, 2]


def test_colliders_that_contradict_are_left_out_and_counted():
    nobody = Knowledge().constraints(tuple("abcde"))
    found = orient(wrong_skeleton({(0, 2): (), (1, 3): ()}), nobody)
    assert found.conflicts == 2
    assert not (found.directed & found.directed.T).any()


def test_the_nearest_graph_keeps_the_arrows_of_the_context():
    directed = np.zeros((5, 5), bool)
    directed[4, 0] = True
    graph = PartialDag(directed, wrong_skeleton({}).adjacent, {(4, 0): "context"})
    found = nearest(graph)
    assert found.directed[4, 0]
    assert not found.directed[:, 4].any()
    assert found.consistent()


# Invariances


def same_graph(one: Discovery, two: Discovery) -> bool:
    return one.graph == two.graph and set(one.changes.changing) == set(two.changes.changing)


def test_columns_in_another_order_change_nothing(usual):
    turned = CDNOD(context="site")(sites()[["e", "site", "b", "a", "d", "c"]])
    assert same_graph(usual, turned)
    for pair in usual.changes.pairs:
        assert turned.changes.p_of(pair.first, pair.second) == pytest.approx(pair.p, rel=1e-9)


def test_random_features_do_not_depend_on_the_order_of_columns():
    frame = sites(rows=200, count=5)
    one, two = (
        CDNOD(context="site", test="rcit", depth=1)(frame[list(names)]) for names in (frame, frame.columns[::-1])
    )
    assert same_graph(one, two)
    assert all(two.changes.p_of(pair.first, pair.second) == pytest.approx(pair.p) for pair in one.changes.pairs)


@pytest.mark.parametrize("test", ["kci", "rcit"])
def test_names_of_domains_do_not_matter(test):
    frame = sites(rows=200, count=5)
    one = CDNOD(context="site", test=test, depth=1)(frame)
    frame["site"] = [f"{97 * int(name[1:]) % 101}" for name in frame["site"]]
    two = CDNOD(context="site", context_kind="domain", test=test, depth=1)(frame)
    assert two.changes.kind == "domain"
    assert same_graph(one, two)
    assert [pair.p for pair in two.changes.pairs] == pytest.approx([pair.p for pair in one.changes.pairs], rel=1e-9)


def test_units_do_not_matter(usual):
    frame = sites()
    frame["b"] = 1000 * frame["b"] + 7
    assert same_graph(usual, CDNOD(context="site")(frame))


def test_the_context_never_has_a_cause_even_against_knowledge():
    with pytest.raises(BadInput, match="nothing causes the context"):
        CDNOD(context="site")(sites(), knowledge=Knowledge(required=(("a", "site"),)))
    known = Knowledge(forbidden=(("site", "a"),), required=(("site", "e"),), apart=(("d", "e"),))
    found = CDNOD(context="site", test="partial-correlation")(sites(), knowledge=known)
    assert "a" not in found.changes.changing
    assert "e" in found.changes.changing
    assert not found.graph.skeleton[3, 4]


def test_a_tier_before_the_context_keeps_a_variable_from_changing_with_it():
    method = CDNOD(context="site", test="partial-correlation")
    free, held = (
        method(sites(), knowledge=Knowledge(tiers=tiers)).changes.changing
        for tiers in ((("site",), ("a", "b")), (("b",), ("site",)))
    )
    assert "b" in free
    assert "b" not in held


# Limits and interruptions


def test_the_time_limit_gives_what_there_is_and_says_so(monkeypatch):
    ticks = iter(range(10_000))
    monkeypatch.setattr(method.time, "monotonic", lambda: float(next(ticks)))
    found = CDNOD(context="site", time_limit=5.0)(sites(rows=200, count=5))
    assert found.changes.unfinished
    assert any("time limit of 5 s" in warning for warning in found.warnings)
    assert found.graph.kind == "MPDAG"
    assert not CDNOD(context="site", time_limit=9000.0)(sites(rows=200, count=5)).changes.unfinished


def test_a_killed_search_asks_no_test_twice(tmp_path, monkeypatch):
    def opened():
        about = {"seed": 0, "device": "cpu", "command": (), "progress": "none"}
        return Run.open(tmp_path, "verb", "method", {}, {"table": {"path": "", "sha256": "0"}}, **about)

    asked = []

    class Counting(Oracle):
        def p_values(self, pairs, given):
            asked.extend((*pair, given) for pair in pairs)
            return super().p_values(pairs, given)

    dag = next(dag for dag in with_context() if dag.sum() == 5)
    graph = Graph.from_adjacency("DAG", dag)
    nothing = np.zeros((4, 4), bool)

    def searched(known, late):
        search = SkeletonSearch(Counting(graph.marks), known, alpha=0.05, depth=2)
        return search(nothing, nothing, late=late, finished=known.finish)

    with opened() as run:
        monkeypatch.setattr(answers, "SAVE_EVERY_S", 0.0)
        steps = iter(range(100))
        assert searched(Answers(run), lambda: next(steps) > 2).unfinished is not None
    with opened() as run:
        whole = searched(Answers(run), lambda: False)
    assert whole.unfinished is None
    assert len(asked) == len(set(asked))


# Bad input


@pytest.mark.parametrize(
    ("settings", "change", "words"),
    [
        ({"context": "sight"}, {}, "near are 'site'"),
        ({"context": "zz"}, {}, "no column"),
        ({"context_kind": "domain"}, {}, "names them"),
        ({"context": "site", "context_kind": "time"}, {}, "such as 's00', and no times; write times as numbers or as"),
        ({"context": "site"}, {"site": lambda f: [f"s{k}" for k in range(len(f))]}, "every row.*; write times as"),
        (
            {"context": "n", "context_kind": "domain"},
            {"n": lambda f: np.arange(len(f))},
            "every row.*take it for a time",
        ),
        ({"context": "site"}, {"site": lambda f: [f"s{k // 3}" for k in range(len(f))]}, "20 rows a domain"),
        ({"context": "site"}, {"twin": lambda f: f["site"].str.upper()}, "same as the context"),
        ({"context": "site"}, {"region": lambda f: np.where(f["site"] > "s01", "n", "s")}, "function of the context"),
        (
            {"context": "when"},
            {"when": lambda f: np.arange(len(f)), "log": lambda f: np.log1p(np.arange(len(f)))},
            "log",
        ),
        ({"context": "site"}, {"site": lambda f: f["site"].where(np.arange(len(f)) != 7)}, "row 8"),
        ({"context": "site", "test": "g"}, {}, "G-test takes levels"),
    ],
)
def test_a_context_that_makes_no_sense_is_refused_by_name(settings, change, words):
    frame = sites(rows=120, count=4).assign(**change)
    with pytest.raises(BadInput, match=words):
        CDNOD(**settings)(frame)


def test_too_few_rows_are_refused_for_kernels_and_taken_by_partial_correlations():
    frame = sites(rows=45, count=2)
    with pytest.raises(BadInput, match="too few for the test kci"):
        CDNOD(context="site")(frame)
    assert CDNOD(context="site", test="partial-correlation")(frame).rows == 45


def test_a_table_of_the_context_alone_is_refused():
    with pytest.raises(BadInput, match="beside the context"):
        CDNOD(context="site")(sites()[["site"]])


def test_a_context_with_one_value_is_plain_pc_with_a_warning():
    frame = sites(rows=200).assign(site="here")
    found = CDNOD(context="site", test="partial-correlation")(frame)
    assert not found.changes.changing
    assert any("plain PC" in warning for warning in found.warnings)
    asked = Knowledge(required=(("site", "a"),))
    found = CDNOD(context="site", test="partial-correlation")(frame, knowledge=asked)
    assert not found.changes.changing
    assert any("what is known of 'site' cannot be used" in warning for warning in found.warnings)
    assert found.names == ("a", "b", "c", "d", "e")


def test_constant_columns_stand_alone_and_rows_with_gaps_are_told():
    frame = sites(rows=200, count=5).assign(same=1.0)
    frame.loc[3:8, "b"] = np.nan
    found = CDNOD(context="site", test="partial-correlation")(frame)
    assert found.isolated == ("same",)
    assert not found.graph.adjacent("same")
    assert found.rows == 194
    assert any("6 of 200 rows have a missing cell" in warning for warning in found.warnings)


def test_rows_that_depend_beyond_the_context_are_told():
    random = np.random.default_rng(0)
    walk = np.zeros((300, 2))
    for k in range(1, 300):
        walk[k] = 0.8 * walk[k - 1] + random.standard_normal(2)
    frame = pd.DataFrame(walk, columns=["u", "v"])
    warned = CDNOD(test="partial-correlation")(frame).warnings
    assert any("beyond what the context explains ('u', 'v')" in one or "('v', 'u')" in one for one in warned)
    assert not any("beyond" in one for one in CDNOD(test="partial-correlation")(drift()).warnings)


def test_very_unequal_domains_and_numbers_that_may_be_domains_are_told():
    frame = sites(rows=300, count=5)
    frame["site"] = np.where(np.arange(300) < 280, "big", "small")
    assert any("'small' alone" in one for one in CDNOD(context="site", test="partial-correlation")(frame).warnings)
    frame["site"] = np.arange(300) * 12 // 300
    found = CDNOD(context="site", test="partial-correlation")(frame)
    assert found.changes.kind == "time"
    assert any("taken as time" in one for one in found.warnings)


def test_more_domains_than_levels_of_a_variable_are_all_kept():
    frame = sites(rows=600, count=24)
    found = CDNOD(context="site", test="partial-correlation")(frame)
    assert {at for force in found.changes.forces for at in force.at} == set(frame["site"])


def test_levels_alone_are_tested_by_their_counts():
    random = np.random.default_rng(0)
    site = np.repeat(["north", "south", "west"], 200)
    a = np.where(random.random(600) < np.where(site == "west", 0.8, 0.3), "yes", "no")
    b = np.where(random.random(600) < np.where(a == "yes", 0.9, 0.2), "on", "off")
    found = CDNOD(context="site")(pd.DataFrame({"a": a, "b": b, "site": site}))
    assert found.changes.test == "g"
    assert found.changes.changing == ("a",)
    assert [(edge.source, edge.target, edge.mark) for edge in found.edges] == [("a", "b", "-->")]


def test_the_command_reads_the_context_whatever_it_numbers(tmp_path, capsys):
    from intaglio.cli import main

    drift().assign(when=range(300)).to_csv(tmp_path / "table.csv", index=False)
    (tmp_path / "truth.dot").write_text("digraph { x -> y; x -> z }")
    words = ["discover", "cd-nod", str(tmp_path / "table.csv"), "--context", "when", "--test", "partial-correlation"]
    where = ["--truth", str(tmp_path / "truth.dot"), "--runs", str(tmp_path / "runs"), "--json"]
    assert main([*words, *where]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["graph"]["names"] == ["x", "y", "z"]
    assert said["changes"]["changing"] == ["x"]
    assert said["scores"]["shd"] == 0


def test_a_table_that_was_read_before_has_its_context_split_off():
    table = Table.from_frame(sites(), context="site")
    assert CDNOD(context="site", test="partial-correlation").variables(table) == ("a", "b", "c", "d", "e")
    found = CDNOD(context="site", test="partial-correlation")(table)
    assert isinstance(found.changes, Changes)
    assert found.names == ("a", "b", "c", "d", "e")


def test_a_context_whose_rarer_levels_were_merged_is_refused_with_the_remedy():
    """300 days came out as 16 domains, fifteen days and all others."""
    frame = drift().assign(when=[f"day {k // 2}" for k in range(300)])
    with pytest.raises(BadInput, match="'when' was read as any column, with its rarer levels merged into '135 others'"):
        CDNOD(context="when")(Table.from_frame(frame))
    with pytest.raises(BadInput, match="'when' has 150 domains in 300 rows.*write times as numbers or as dates"):
        CDNOD(context="when")(frame, kinds={"when": "nominal"})


def test_dates_that_are_taken_for_domains_are_told():
    frame = drift().assign(when=[f"{k // 50 + 1:02d}.03.2024" for k in range(300)])
    found = CDNOD(context="when", test="partial-correlation")(frame)
    assert found.changes.kind == "domain"
    assert any("holds dates, such as '01.03.2024'" in one and "2020-01-31" in one for one in found.warnings)
