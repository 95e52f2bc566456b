import json
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intaglio.causal.graphs.knowledge import Knowledge
from intaglio.errors import BadInput
from small_graphs import dags, named, random_dag

NAMES = ("age", "smoking", "tar", "cancer")


def agrees(knowledge: Knowledge, dag: np.ndarray, names) -> bool:
    """Read off the statements one by one."""
    tier = {name: k for k, names_of in enumerate(knowledge.tiers) for name in names_of}
    arrows = {(names[i], names[j]) for i, j in np.argwhere(dag)}
    edges = arrows | {(b, a) for a, b in arrows}
    return (
        all(pair in arrows for pair in knowledge.required)
        and all(pair not in arrows for pair in knowledge.forbidden)
        and all(pair in edges for pair in knowledge.adjacent)
        and all(pair not in edges for pair in knowledge.apart)
        and all(tier.get(a, -1) <= tier.get(b, 99) for a, b in arrows)
    )


def statements(d: int):
    pairs = st.sampled_from([(a, b) for a, b in product(named(d), repeat=2) if a != b])
    some = st.lists(pairs, max_size=3).map(tuple)
    tiers = st.permutations(named(d)).flatmap(
        lambda order: st.integers(0, d).map(lambda cut: (tuple(order[:cut]), tuple(order[cut : d - 1])))
    )
    kinds = dict.fromkeys(("required", "forbidden", "adjacent", "apart"), some)
    return st.fixed_dictionaries({**kinds, "tiers": tiers | st.just(())})


@given(statements(4))
@settings(max_examples=200, deadline=None)
def test_knowledge_is_refused_exactly_where_no_dag_agrees(said):
    knowledge = Knowledge(**said)
    possible = [dag for dag in dags(4) if agrees(knowledge, dag, named(4))]
    if not possible:
        with pytest.raises(BadInput):
            knowledge.check(named(4))
        return
    constraints = knowledge.constraints(named(4))
    assert all(constraints.allow(dag) == agrees(knowledge, dag, named(4)) for dag in dags(4))
    seen = np.stack(possible)
    # What the matrices say holds in each of these DAGs, so nothing was made up.
    assert seen.all(0)[constraints.required].all()
    assert not seen.any(0)[constraints.forbidden].any()
    assert (seen | seen.transpose(0, 2, 1)).all(0)[constraints.adjacent].all()
    assert not seen.any(0)[constraints.apart].any()


def test_the_matrices_of_an_example():
    constraints = Knowledge(
        required=(("smoking", "tar"),),
        forbidden=(("tar", "cancer"),),
        adjacent=(("tar", "cancer"),),
        apart=(("age", "tar"),),
        tiers=(("age",), ("smoking",)),
    ).constraints(NAMES)

    def said(matrix):
        return {(NAMES[i], NAMES[j]) for i, j in np.argwhere(matrix)}

    assert said(constraints.required) == {("smoking", "tar"), ("cancer", "tar")}
    apart = {("age", "tar"), ("tar", "age")}
    assert said(constraints.apart) == apart
    assert said(constraints.forbidden) == {("tar", "smoking"), ("tar", "cancer"), ("smoking", "age")} | apart
    assert said(constraints.adjacent) == {
        (a, b) for a, b in product(NAMES, NAMES) if {a, b} in ({*NAMES[1:3]}, {*NAMES[2:]})
    }
    everyone = ~np.eye(4, dtype=bool)
    assert said(constraints.oriented(everyone)) == {("smoking", "tar"), ("cancer", "tar"), ("age", "smoking")} | apart


def test_names_in_no_tier_are_free():
    constraints = Knowledge(tiers=(("age",), ("cancer",))).constraints(NAMES)
    assert np.argwhere(constraints.forbidden).tolist() == [[3, 0]]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"required": (("smokin", "tar"),)}, ["'smokin'", "required", "'smoking'"]),
        ({"tiers": (("age",), ("zebra",))}, ["'zebra'", "tiers", "age, smoking, tar, cancer"]),
        ({"tiers": (("age", "tar"), ("tar",))}, ["'tar'", "tier 1", "tier 2"]),
        ({"required": (("age", "tar"),), "forbidden": (("age", "tar"),)}, ["age → tar", "forbidden"]),
        ({"required": (("tar", "age"),), "tiers": (("age",), ("tar",))}, ["tar → age", "age before tar"]),
        ({"required": (("tar", "age"),), "apart": (("age", "tar"),)}, ["tar → age", "apart"]),
        ({"adjacent": (("tar", "age"),), "apart": (("age", "tar"),)}, ["tar and age", "apart"]),
        ({"required": (("age", "tar"), ("tar", "cancer"), ("cancer", "age"))}, ["cancer → age", "cycle"]),
        ({"required": (("age", "tar"), ("tar", "age"))}, ["age → tar → age", "cycle"]),
        ({"adjacent": (("age", "tar"),), "forbidden": (("age", "tar"), ("tar", "age"))}, ["age and tar", "both"]),
        (
            {"required": (("age", "tar"),), "forbidden": (("age", "tar")[::-1],), "tiers": (("tar",), ("age",))},
            ["age → tar", "tar before age"],
        ),
    ],
)
def test_what_no_graph_can_have_is_refused_by_name(said, words):
    with pytest.raises(BadInput) as caught:
        Knowledge(**said).check(NAMES)
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"required": (("age", "age"),)}, "required pairs 'age' with itself"),
        ({"apart": ("ab", "cd")}, "apart has 'ab'"),
        ({"adjacent": (("a", "b", "c"),)}, "no pair"),
        ({"forbidden": (("a", 3.5),)}, "no pair"),
        ({"tiers": ("age",)}, "tier 1 is 'age'"),
        ({"tiers": (("age",), (1.5,))}, "tier 2"),
    ],
)
def test_what_is_no_pair_or_tier_is_refused(tmp_path, said, words):
    path = tmp_path / "known.json"
    path.write_text(json.dumps(said))
    with pytest.raises(BadInput, match=words) as caught:
        Knowledge.load(path)
    assert str(caught.value).startswith("known.json: ")


def test_both_files_say_the_same(tmp_path):
    said = Knowledge(
        required=(("smoking", "tar"),),
        forbidden=(("tar", "age"),),
        adjacent=(("age", "cancer"),),
        apart=(("age", "tar"),),
        tiers=(("age",), ("smoking", "tar"), ("cancer",)),
    )
    toml = "\n".join(f"{kind} = {json.dumps(getattr(said, kind))}" for kind in said.__dataclass_fields__)
    (tmp_path / "a.toml").write_text(toml)
    # As Windows' editors write it.
    (tmp_path / "b.JSON").write_text(json.dumps(vars(said)), encoding="utf-8-sig")
    assert Knowledge.load(tmp_path / "a.toml") == Knowledge.load(tmp_path / "b.JSON") == said
    assert hash(Knowledge.load(tmp_path / "a.toml")) == hash(said)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.yaml", b"", "no .toml or .json"),
        ("a.json", b"[1]", "no table of entries"),
        ("a.json", b"{", "no readable JSON"),
        ("a.json", b"[" * 200_000, "no readable JSON"),
        ("a.toml", b"required = [[", "no readable TOML"),
        ("a.toml", b"needed = []", "'needed'"),
        ("a.toml", b"required = 'age'", "required is no list"),
        ("a.json", b"\xff\xfe", "UTF-8"),
    ],
)
def test_a_file_that_is_no_knowledge_is_refused(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput, match=words):
        Knowledge.load(tmp_path / name)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r"gone\.json cannot be read"):
        Knowledge.load(tmp_path / "gone.json")


def test_only_knowledge_that_says_something_is_true():
    assert not Knowledge()
    assert Knowledge(tiers=(("age",),))


def test_among_fewer_variables_only_what_is_about_them_is_left():
    said = Knowledge(
        required=(("age", "tar"), ("tar", "cancer")), apart=(("age", "smoking"),), tiers=(NAMES[:2], NAMES[2:])
    )
    assert said.restricted_to(["cancer", "tar", "smoking"]) == Knowledge(
        required=(("tar", "cancer"),), tiers=(("smoking",), ("tar", "cancer"))
    )


def test_what_is_read_off_a_dag_is_consistent():
    random = np.random.default_rng(0)
    for _ in range(50):
        d = int(random.integers(2, 12))
        dag, names = random_dag(random, d, 0.4), [f"x{k}" for k in range(d)]
        pairs = list(combinations(range(d), 2))
        chosen = [pairs[k] for k in random.permutation(len(pairs))[: len(pairs) // 2]]
        arrows = [(names[a], names[b]) for a, b in chosen if dag[a, b]]
        away = [(names[a], names[b]) for a, b in chosen if not dag[a, b]]
        apart = tuple((names[a], names[b]) for a, b in chosen if not dag[a, b] and not dag[b, a])
        assert Knowledge(required=tuple(arrows), forbidden=tuple(away), apart=apart).constraints(names).allow(dag)


def test_with_hidden_causes_a_pair_without_either_direction_may_still_be_adjacent():
    known = Knowledge(forbidden=(("a", "b"), ("b", "a")), adjacent=(("a", "b"), ("b", "c")), tiers=(("b",), ("c",)))
    made = known.constraints("abc", hidden_causes=True)
    assert made.adjacent[0, 1]
    assert not made.apart.any()
    assert not made.required.any()
    assert made.forbidden[2, 1]
    with pytest.raises(BadInput, match="both directions are forbidden"):
        known.constraints("abc")


def test_with_hidden_causes_what_is_required_is_an_arrow_without_its_opposite():
    made = Knowledge(required=(("a", "b"),), apart=(("b", "c"),)).constraints("abc", hidden_causes=True)
    assert made.required[0, 1]
    assert made.forbidden.tolist() == [[False, False, False], [True, False, True], [False, True, False]]
    assert made.adjacent[1, 0]
    with pytest.raises(BadInput, match="cycle"):
        Knowledge(required=(("a", "b"), ("b", "a"))).check("ab", hidden_causes=True)
