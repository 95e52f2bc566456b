import numpy as np

from intaglio.explain.heads.methods.linear_head import LinearHead
from intaglio.explain.logistic_fits import chosen_logistic

SMALL = {"folds": 3, "strengths": (0.1,), "side": 2, "batch": 8}
BAD = {"folds": 2}
PIECES = {"batch": 4}


def rows_of(noise: float, seed: int = 0):
    """Sixty pictures of one place whose class is in their first feature, which many noisy ones stand beside."""
    random = np.random.default_rng(seed)
    truth = np.arange(60) % 2
    rows = noise * random.standard_normal((60, 40))
    rows[:, 0] += 2 * truth
    return rows, truth


def test_the_strength_with_the_best_accuracy_in_inner_folds_is_taken():
    truth = np.arange(60) % 2
    rows = np.random.default_rng(0).standard_normal((60, 40)) + 0.5 * truth[:, None]  # a little in each feature

    def right(strength):
        folds, found = np.arange(60) // 2 % 3, []
        for fold in range(3):
            head = chosen_logistic(rows[folds != fold], truth[folds != fold], np.arange(40), (strength,), 0)
            found.append(head.predict(rows[folds == fold]) == truth[folds == fold])
        return np.mean(found)

    assert right(0.001) > right(1000.0)
    assert chosen_logistic(rows, truth, np.arange(60), (1000.0, 0.001), 0)[1].C == 0.001


def test_two_classes_and_three_are_shown_by_the_feature_with_the_largest_weight():
    rows, truth = rows_of(0.1)
    names = [f"{k:02d}" for k in range(60)]
    head = LinearHead(strengths=(0.1,)).fitted(rows[:, None], truth, np.arange(60), 2)
    told = head.explained(rows[:, None], names, truth, ("no", "yes"))
    assert [row[:2] for row in told.rows][1] == ("yes", "feature 0")
    ((_, _), (heading, most)) = told.pictures
    assert heading == "yes: most of feature 0"
    assert set(most) <= {names[k] for k in range(60) if truth[k] == 1}
    assert head.sizes(rows[:, None]).tolist() == [40.0] * 60
    assert (head.predict(rows[:, None]) == truth).all()
