import numpy as np
import pytest

from intaglio.metrics.pareto import Pareto


def test_hypervolume_of_two_points():
    assert Pareto(np.array([[1.0, 1.0], [2.0, 0.5]]), (True, True)).hypervolume((0.0, 0.0)) == pytest.approx(1.5)
    assert Pareto(np.array([[-1.0, -1.0]]), (True, True)).hypervolume((0.0, 0.0)) == 0.0
    cube = Pareto(np.array([[1.0, 2.0, 3.0], [0.5, 1.0, 4.0]]), (True, True, True))
    assert cube.hypervolume((0.0, 0.0, 0.0)) == pytest.approx(6.0 + 0.5)


def test_less_may_be_better():
    points = Pareto(np.array([[1.0, 3.0], [1.0, 2.0], [2.0, 9.0]]), (True, False))
    assert points.front.tolist() == [False, True, True]
    assert points.hypervolume((0.0, 10.0)) == pytest.approx(8.0 + 1.0)


def test_equal_points_do_not_dominate_each_other():
    assert Pareto(np.array([[1.0, 1.0], [1.0, 1.0]]), (True, True)).front.tolist() == [True, True]


def test_order_and_a_dominated_point_change_nothing():
    random = np.random.default_rng(0)
    points = random.random((40, 3))
    pareto = Pareto(points, (True, True, True))
    brute = [not any((q >= p).all() and (q > p).any() for q in points) for p in points]
    assert pareto.front.tolist() == brute
    order = random.permutation(40)
    assert Pareto(points[order], (True, True, True)).front.tolist() == pareto.front[order].tolist()
    worse = np.concatenate([points, points[:1] - 0.1])
    assert Pareto(worse, (True, True, True)).front.tolist() == [*brute, False]
    assert Pareto(worse, (True, True, True)).hypervolume((0.0, 0.0, 0.0)) == pytest.approx(
        pareto.hypervolume((0.0, 0.0, 0.0))
    )


def test_hypervolume_by_counting_darts():
    random = np.random.default_rng(1)
    points, darts = random.random((6, 3)), random.random((200_000, 3))
    hit = (points[:, None] >= darts[None]).all(2).any(0).mean()
    assert Pareto(points, (True, True, True)).hypervolume((0.0, 0.0, 0.0)) == pytest.approx(hit, abs=0.005)
