"""Gaussian processes of costs: closed forms, another library, planted tiles, joint uncertainty."""

import numpy as np
import pytest
from scipy.optimize import check_grad
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern

from intaglio.energy.layers.layer import LayerFamily
from intaglio.energy.processes import matern_process
from intaglio.energy.processes.family_process import FamilyPoints, family_process, known_process
from intaglio.energy.processes.matern_process import Hyper, MaternProcess, fitted, matern
from intaglio.energy.processes.size_scale import SizeScale
from intaglio.errors import IntaglioError

LINEAR = LayerFamily("linear", fixed=(("positions", 32),), train=True, input_grad=True, weight_grad=True)


def test_the_kernel_and_a_posterior_in_closed_form():
    far = np.array([[0.5], [1.0], [2.0]])
    assert matern(np.zeros((1, 1)), far, Hyper((1.0,)))[0] == pytest.approx([0.828649, 0.523994, 0.138660], abs=1e-6)
    process = MaternProcess(np.array([[0.0], [0.5], [1.0]]), np.array([0.0, 1.0, 0.0]), np.full(3, 0.01), Hyper((0.5,)))
    at = np.array([[0.25]])
    assert process.mean(at) == pytest.approx(0.604335, abs=1e-5)
    assert process.variance(at) == pytest.approx(0.096909, abs=1e-5)
    assert process.covariance(at)[0] == pytest.approx(process.variance(at))
    assert process.log_likelihood() == pytest.approx(-3.381603, abs=1e-5)


def planted(n=20, seed=0):
    generator = np.random.default_rng(seed)
    points = generator.random((n, 2))
    values = np.sin(points @ [3.0, 1.0]) + 0.1 * generator.standard_normal(n)
    return points, (values - values.mean()) / values.std(), np.full(n, 0.01)


def test_the_posterior_is_that_of_another_library():
    points, values, variances = planted()
    hyper = Hyper((0.4, 0.9), 1.7, 0.02)
    kernel = ConstantKernel(1.7) * Matern([0.4, 0.9], nu=2.5)
    other = GaussianProcessRegressor(kernel, alpha=variances + 0.02 + matern_process.JITTER, optimizer=None)
    other.fit(points, values)
    at = np.random.default_rng(1).random((5, 2))
    mean, covariance = other.predict(at, return_cov=True)
    ours = MaternProcess(points, values, variances, hyper)
    np.testing.assert_allclose(ours.mean(at), mean, atol=1e-9)
    np.testing.assert_allclose(ours.covariance(at), covariance, atol=1e-9)
    assert ours.log_likelihood() == pytest.approx(other.log_marginal_likelihood_value_)


def test_a_point_left_out_is_predicted_from_the_others():
    points, values, variances = planted(8)
    hyper = Hyper((0.4, 0.9), 1.7, 0.02)
    found = MaternProcess(points, values, variances, hyper).left_out()
    for k in range(8):
        others = np.arange(8) != k
        without = MaternProcess(points[others], values[others], variances[others], hyper)
        assert found[k] == pytest.approx(without.mean(points[[k]])[0])


def test_the_fit_follows_its_gradient_and_finds_the_largest_posterior():
    points, values, variances = planted()
    squares = (points[:, None] - points[None]) ** 2
    given = (squares, values, variances)
    theta = np.log([0.4, 0.8, 1.3, 0.03])
    error = check_grad(
        lambda x: matern_process._loss(x, *given)[0], lambda x: matern_process._loss(x, *given)[1], theta
    )
    assert error < 1e-4
    best = fitted(points, values, variances)
    least = matern_process._loss(np.log([*best.hyper.lengths, best.hyper.signal, best.hyper.noise]), *given)[0]
    for trial in np.log(np.random.default_rng(2).uniform(0.05, 3.0, (50, 4))):
        assert matern_process._loss(np.clip(trial, -13, 1), *given)[0] >= least - 1e-6


def test_sizes_are_logarithmic_rounded_up_and_without_constant_ones():
    scale = SizeScale((8, 10, 1), (256, 10, 4), (64, 1, 1))
    u = scale(np.array([[64, 10, 1], [65, 10, 2], [256, 10, 4], [1, 10, 4]]))
    assert u == pytest.approx(np.array([[0, 0], [0.5, 0.5], [1, 1], [0, 1]]))
    assert scale.excess(np.array([[512, 10, 1], [4, 10, 8], [8, 10, 4]])) == pytest.approx([2, 2, 1])
    assert SizeScale((1,), (5,), (1,), linear=True)(np.array([[3]])) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="not in order"):
        SizeScale((5,), (1,), (1,))


def staircase(sizes, tiles):
    up = np.ceil(sizes / np.array(tiles)) * tiles
    return 1e-3 + 1e-6 * up.prod(1)


@pytest.mark.parametrize("tiles", [(1, 1), (32, 64), (8, 1)])
def test_planted_tiles_are_found(tiles):
    rows = [(8, 8), (8, 256), (256, 8), (256, 256), (45, 45)]
    rows += [(a, 45) for a in (64, 65, 96, 97, 72, 73, 20, 150)] + [(45, b) for b in (64, 65, 96, 97, 72, 73, 20, 150)]
    sizes = np.array(rows)
    costs = staircase(sizes, tiles)
    points = FamilyPoints(LINEAR, sizes, costs, (1e-3 * costs) ** 2)
    found = family_process(points, (8, 8), (256, 256))
    assert found.scale.tiles == tiles
    fresh = np.random.default_rng(0).integers(8, 257, (40, 2))
    mean, covariance = found.joint(fresh)
    assert np.abs(mean / staircase(fresh, tiles) - 1).mean() < 0.03
    again = known_process(points, (8, 8), (256, 256), found.fit).joint(fresh)
    np.testing.assert_array_equal(again[0], mean)
    np.testing.assert_array_equal(again[1], covariance)


def test_equal_layers_err_together():
    sizes = np.array([[8, 8], [8, 256], [256, 8], [256, 256]])
    points = FamilyPoints(LINEAR, sizes, np.array([1.0, 5.0, 4.0, 20.0]), np.full(4, 1e-4))
    _, covariance = family_process(points, (8, 8), (256, 256)).joint(np.array([[50, 50], [50, 50]]))
    assert covariance[0, 1] == pytest.approx(covariance[0, 0])


def test_costs_below_the_meter_s_resolution_are_no_points():
    sizes, costs = np.array([[8], [64], [256]]), np.array([1e-6, 1.0, 2.0])
    family = LayerFamily("linear", fixed=(("positions", 32), ("c_out", 10)))
    points = FamilyPoints(family, sizes, costs, np.full(3, 1e-4))
    assert points.resolved.sizes.ravel().tolist() == [64, 256]
    with pytest.raises(IntaglioError, match="costs more than the meter resolves"):
        family_process(FamilyPoints(family, sizes, 1e-6 * costs, np.full(3, 1e-4)), (8,), (256,))
