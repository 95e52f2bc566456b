import numpy as np

from intaglio.explain.heads.methods.rule_tree import RuleTree

SMALL = {"folds": 3, "strengths": (0.1,), "side": 2, "batch": 8, "depth": 2}
BAD = {"depth": 9}
PIECES = {"batch": 4}


def test_a_rule_of_two_questions_is_recovered():
    random = np.random.default_rng(0)
    rows = random.uniform(size=(600, 6)).round(2)
    truth = np.where(rows[:, 4] <= 0.295, 0, np.where(rows[:, 1] <= 0.605, 1, 2))
    head = RuleTree(depth=4).fitted(rows[:, None], truth, np.arange(600), 3)
    assert (head.predict(rows[:, None]) == truth).all()
    told = head.explained(rows[:, None], [str(k) for k in range(600)], truth, ("a", "b", "c"))
    assert [row[:2] for row in told.rows] == [
        ("feature 4 ≤ 0.295", "a"),
        ("feature 4 > 0.295 and feature 1 ≤ 0.605", "b"),
        ("feature 4 > 0.295 and feature 1 > 0.605", "c"),
    ]
    assert [int(row[2]) for row in told.rows] == np.bincount(truth).tolist()
    assert {row[3] for row in told.rows} == {"1.00"}
    assert head.sizes(rows[:, None]).tolist() == np.where(truth == 0, 1.0, 2.0).tolist()
    assert [heading for heading, _ in told.pictures] == ["Most of feature 4", "Most of feature 1"]
