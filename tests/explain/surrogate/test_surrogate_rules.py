"""Surrogates: clusters, drops by hand, fidelity and knee in closed form, crossings by brute force, files."""

from itertools import product

import numpy as np
import pytest

import surrogate_scenes
from intaglio.errors import BadInput
from intaglio.explain.surrogate.black_box_rows import read_rows
from intaglio.explain.surrogate.column_clusters import clustered
from intaglio.explain.surrogate.fast_model import FastModel, permutation_drops
from intaglio.explain.surrogate.leaf_rules import fitted_tree, leaf_rules, nearest_crossing
from intaglio.explain.surrogate.methods.two_phase import TwoPhaseSurrogate
from intaglio.explain.surrogate.result import SurrogateRules
from intaglio.explain.surrogate.rule_fidelity import counts_of, fidelity_of, knee
from intaglio.runs.tensors import write_state


def test_representatives_go_most_with_the_answers_and_no_two_are_alike():
    source = np.random.default_rng(0)
    base = source.standard_normal((300, 90))
    features = np.concatenate([base, base + 0.3 * source.standard_normal(base.shape), -base, np.ones((300, 1))], 1)
    answers = base[:, :2]
    chosen, belongs = clustered(features.astype(np.float32), answers, 0.9)
    assert belongs[-1] == -1
    assert len(chosen) == 90  # 180 and more columns cross the block's end
    assert set(chosen[:2].tolist()) <= {0, 1, 180, 181}
    assert all(belongs[k] == belongs[90 + k] == belongs[180 + k] for k in range(90))
    r = np.abs(np.corrcoef(features[:, chosen].T)) - np.eye(90)
    assert r.max() <= 0.9
    alone, own = clustered(features.astype(np.float32), answers, 1.0)
    assert len(alone) == 270
    assert sorted(own[:-1].tolist()) == list(range(270))


def test_more_columns_than_a_block_are_as_by_one_after_another(monkeypatch):
    source = np.random.default_rng(1)
    mixed = source.standard_normal((60, 8)) @ source.standard_normal((8, 40)) + 0.2 * source.standard_normal((60, 40))
    whole = clustered(mixed.astype(np.float32), mixed[:, :1], 0.7)
    for block in (1, 7):
        monkeypatch.setattr("intaglio.explain.surrogate.column_clusters.BLOCK", block)
        for one, other in zip(clustered(mixed.astype(np.float32), mixed[:, :1], 0.7), whole, strict=True):
            np.testing.assert_array_equal(one, other)


def test_duplicates_split_importance_unless_they_are_clustered():
    rows = surrogate_scenes.planted(300, 230)
    copies = np.repeat(rows.features[:, [7]], 6, 1) + 0.01 * rows.features[:, 20:26]
    doubled = surrogate_scenes.planted(
        features=np.concatenate([rows.features[:, :229], copies, rows.features[:, 229:]], 1)
    )
    settings = {"trees": 20, "count": 3, "most": 3, "permutations": 2}
    split, whole = (TwoPhaseSurrogate(alike=alike, **settings)(doubled) for alike in (1.0, 0.9))
    assert {one.name for one in whole.features} == {"f200", "f235", *(one.name for one in whole.features if one.alike)}
    (stands,) = [one for one in whole.features if one.alike]
    assert {stands.name, *stands.alike} == {"f7", *(f"f{k}" for k in range(229, 235))}
    ours = [one.scores["probing"] for one in split.features if one.name in {stands.name, *stands.alike}]
    assert len(ours) > 1  # others have no place left
    assert max(ours) < 0.6 * stands.scores["probing"]
    assert split.fidelity.value < whole.fidelity.low


def test_drops_by_hand_and_of_a_forest_by_asking_it_all():
    features = np.array([[1.0, 5.0], [2.0, 6.0], [4.0, 7.0]], np.float32)
    line = lambda x: np.stack([x[:, 0], -x[:, 0]], 1).astype(float)  # noqa: E731
    shuffles = np.array([[1, 2, 0], [0, 2, 1]])
    # the first: 1, 2, 4 become 2, 4, 1: errors 1, 4, 9; the second: 1, 4, 2: errors 0, 4, 4; two classes
    found = permutation_drops(
        line, features, line(features), shuffles, [np.array([0]), np.array([1]), np.array([0, 1])]
    )
    np.testing.assert_allclose(found, [2 * (14 / 3 + 8 / 3) / 2, 0, 2 * (14 / 3 + 8 / 3) / 2])
    rows = surrogate_scenes.small()
    model = FastModel(rows.features, rows.probabilities, 4, 0, "x")
    orders = np.stack([np.random.default_rng(k).permutation(60) for k in range(3)])
    columns = [np.array([k]) for k in range(rows.features.shape[1])]
    whole = permutation_drops(model, rows.features, rows.probabilities, orders, columns)
    np.testing.assert_allclose(model.drops(rows.features, rows.probabilities, orders), whole, atol=1e-12)
    assert whole.max() > 0.01


def test_fidelity_and_the_knee_in_closed_form():
    answers = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    mean = np.array([0.5, 0.5])
    assert fidelity_of(answers, answers, mean).value == 1
    assert fidelity_of(np.full((4, 2), 0.5), answers, mean).value == 0
    half = fidelity_of(0.5 * answers + 0.25, answers, mean)
    assert (half.value, half.low, half.high) == (0.75, 0.75, 0.75)  # errors are half as large in each row
    assert fidelity_of(1 - answers, answers, mean).value == -3
    assert knee({1: 0.5, 2: 0.6, 3: 0.93, 4: 0.96, 6: 1.0}) == 4
    assert knee({1: 0.4, 2: 0.3, 3: 0.41}) == 1
    assert knee({1: -0.2, 2: -0.1}) == 1
    assert counts_of(7, 100) == (1, 2, 3, 4, 5, 6, 7)
    assert counts_of(30, 4) == (1, 2, 3, 4)


def test_crossings_are_the_nearest_of_a_grid():
    source = np.random.default_rng(0)
    features = source.uniform(-1, 1, (200, 2)).astype(np.float32)
    called = (features[:, 0] + features[:, 1] ** 2 > 0.3).astype(float)
    tree = fitted_tree(features, np.stack([called, 1 - called], 1), 4, 5, 0)
    rules = leaf_rules(tree, features, np.stack([called, 1 - called], 1))
    assert sum(rule.rows for rule in rules) == 200
    assert sum(rule.right for rule in rules) == (tree.predict(features).argmax(1) == 1 - called).sum()
    deviations = np.array([1.0, 3.0])
    steps = np.linspace(-1.2, 1.2, 241)
    grid = np.array(list(product(steps, steps)), np.float32)
    says = tree.predict(grid).argmax(1)
    for row in features[:12]:
        one = nearest_crossing(rules, row, deviations)
        mine = tree.predict(row[None]).argmax(1)[0]
        best = np.sqrt((((grid - row) / deviations) ** 2).sum(1))[says != mine].min()
        assert one.distance == pytest.approx(best, abs=0.011)
        moved = row.copy()
        for column, (_, new) in one.moves.items():
            moved[column] = new
        assert tree.predict(moved[None]).argmax(1)[0] == rules[one.leaf].called != mine
    (mine,) = [rule for rule in rules if rule.holds(features[:1])[0]]
    assert nearest_crossing([mine], features[0], deviations) is None


def test_rules_in_words_and_a_result_that_is_stored_and_read_again(tmp_path):
    found = TwoPhaseSurrogate(trees=3, depth=2, most=3, count=3)(surrogate_scenes.small())
    assert "60 rows are few" in found.warnings[-1]
    assert all(" and " in row["rule"] or "<=" in row["rule"] or ">" in row["rule"] for row in found.rule_rows())
    assert sum(row["support"] for row in found.rule_rows()) == pytest.approx(1)
    found.save(tmp_path)
    again = SurrogateRules.load(tmp_path)
    assert (again.rows(), again.rule_rows(), again.change_rows()) == (
        found.rows(),
        found.rule_rows(),
        found.change_rows(),
    )
    assert (again.figures(), again.curve, again.warnings) == (found.figures(), found.curve, found.warnings)
    tensors, about = found._parts()
    write_state(tmp_path / "surrogate.safetensors", tensors, {**about, "counts": about["counts"][:-1]})
    with pytest.raises(BadInput, match="is damaged .the rules do not fit the classes.; delete it"):
        SurrogateRules.load(tmp_path)


def test_tables_are_joined_by_names_and_one_column_is_a_class_against_none(tmp_path):
    (tmp_path / "f.csv").write_text("picture,a,b\ny,3,4\nx,1,2\nz,5,6\n")
    (tmp_path / "p.csv").write_text("picture,cat\nx,0.25\ny,1\n")
    rows = read_rows(tmp_path / "f.csv", tmp_path / "p.csv")
    assert (rows.names, rows.columns, rows.classes) == (("x", "y"), ("a", "b"), ("cat", "not cat"))
    np.testing.assert_array_equal(rows.features, [[1, 2], [3, 4]])
    np.testing.assert_array_equal(rows.probabilities, [[0.25, 0.75], [1, 0]])
    np.savez(tmp_path / "f.npz", names=np.array(["x"]), features=np.ones((1, 2)))
    with pytest.raises(BadInput, match="has no row for y; give features of every row"):
        read_rows(tmp_path / "f.npz", tmp_path / "p.csv")
    with pytest.raises(BadInput, match="2 rows are too few"):
        rows.check()


def test_rows_that_cannot_be_used_are_told():
    from dataclasses import replace

    rows = surrogate_scenes.small()
    with pytest.raises(BadInput, match="predictions of r0 are no probabilities that sum to 1"):
        replace(rows, probabilities=2 * rows.probabilities).check()
    with pytest.raises(BadInput, match="gives all rows the same answer"):
        replace(rows, probabilities=np.full((60, 2), 0.5)).check()
    with pytest.raises(BadInput, match="no feature differs"):
        replace(rows, features=np.ones((60, 3), np.float32)).check()
    with pytest.raises(BadInput, match="not a finite number of 32 bits"):
        replace(rows, features=np.full((60, 3), np.inf, np.float32)).check()
