import numpy as np
import pytest

from intaglio.errors import BadInput
from intaglio.explain.heads.methods.spline_head import SplineHead

SMALL = {"folds": 3, "strengths": (0.1,), "side": 2, "batch": 8, "count": 2, "knots": 4}
BAD = {"knots": 1}
PIECES = {"batch": 4}


def test_the_curves_of_an_additive_truth_are_recovered():
    random = np.random.default_rng(0)
    rows = random.uniform(-2, 2, (20_000, 2)) * [1.0, 3.0]  # principal numbers are the columns, the second first
    curves = np.stack([1.5 * np.abs(rows[:, 1] / 3) ** 1.5, 2 * np.sin(2 * rows[:, 0])], 1)
    curves -= curves.mean(0)
    truth = (random.uniform(size=len(rows)) < 1 / (1 + np.exp(-curves.sum(1)))).astype(np.int64)
    head = SplineHead(strengths=(1.0,), count=2).fitted(rows[:, None], truth, np.arange(len(rows)), 2)
    values = head.values(rows[:, None])
    found = values[..., 1] - values[..., 0]
    for j in range(2):
        assert np.corrcoef(found[:, j], curves[:, j])[0, 1] >= 0.99
        assert np.polyfit(curves[:, j], found[:, j], 1)[0] == pytest.approx(1, abs=0.1)
    assert head.sizes(rows[:3, None]).tolist() == [2.0] * 3


def test_what_curves_say_is_the_heads_own_sum():
    random = np.random.default_rng(1)
    rows = random.standard_normal((60, 5))
    truth = np.arange(60) % 3
    head = SplineHead(strengths=(0.1,), count=3, knots=5).fitted(rows[:, None], truth, np.arange(60), 3)
    own = head.head.decision_function(np.concatenate(
        [one.transform(head.numbers(rows[:, None])[:, [j]]) for j, one in enumerate(head.curves)], 1
    ))  # fmt: skip
    rest = own - head.values(rows[:, None]).sum(1)
    np.testing.assert_allclose(rest, np.broadcast_to(rest[0], rest.shape), atol=1e-9)


def test_equal_values_take_fewer_knots_and_constant_features_are_refused():
    rows = np.repeat([[0.0, 0.0], [1.0, 0.0]], 10, 0)
    truth = np.arange(20) // 10
    head = SplineHead(strengths=(0.1,)).fitted(rows[:, None], truth, np.arange(20), 2)
    assert (head.predict(rows[:, None]) == truth).all()
    assert head.sizes(rows[:1, None]).tolist() == [1.0]
    with pytest.raises(BadInput, match="do not differ"):
        SplineHead().fitted(np.ones((20, 1, 2)), truth, np.arange(20), 2)
