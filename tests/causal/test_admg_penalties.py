"""Penalties of cycles and of classes of ADMGs: zero exactly where the graph is of the class, with true gradients."""

from itertools import product

import numpy as np
import pytest
import scipy.linalg
import torch

from intaglio.causal.confounding.matrix_exponential import exponential_and_derivative, exponential_minus_one
from intaglio.causal.confounding.penalties import violation, violation_gradients
from intaglio.causal.graphs.admg import ADMG
from intaglio.causal.graphs.paths import descendants

KINDS = ("ancestral", "arid", "bow-free")


def matrices(seed: int, d: int, scale: float = 0.5):
    random = np.random.default_rng(seed)
    arrows = random.normal(0, scale, (2, d, d)) * (1 - np.eye(d))
    doubles = np.tril(random.normal(0, scale, (2, d, d)), -1)
    return torch.from_numpy(arrows), torch.from_numpy(doubles + doubles.swapaxes(1, 2))


@pytest.mark.parametrize("kind", KINDS)
def test_a_graph_of_three_is_penalised_exactly_where_it_is_not_of_the_class(kind):
    """All 64 · 8 of them, with coefficients of one size, so that nothing depends on chance."""
    pairs = [(0, 1), (0, 2), (1, 2)]
    arrows, doubles, good = [], [], []
    for ends in product((False, True), repeat=9):
        made, double = np.zeros((3, 3), bool), np.zeros((3, 3), bool)
        for (a, b), one, back, both in zip(pairs, ends[:3], ends[3:6], ends[6:], strict=True):
            made[a, b], made[b, a], double[a, b], double[b, a] = one, back, both, both
        acyclic = not descendants(made).diagonal().any()
        good.append(acyclic and ADMG(("a", "b", "c"), made, double).belongs_to(kind))
        arrows.append(0.7 * made)
        doubles.append(-0.6 * double)
    found = violation(torch.from_numpy(np.stack(arrows)), torch.from_numpy(np.stack(doubles)), kind)
    assert len(good) == 512
    assert ((found == 0).numpy() == np.array(good)).all()
    assert found[~torch.tensor(good)].min() > 1e-3
    assert found.min() == 0.0


def test_the_penalties_are_those_of_the_matrix_exponential():
    arrows, doubles = matrices(0, 6)
    found = violation(arrows, doubles, "ancestral"), violation(arrows, doubles, "bow-free")
    for b, w, ancestral, bows in zip(arrows.numpy(), doubles.numpy(), *found, strict=True):
        grown = scipy.linalg.expm(b**2)
        assert float(ancestral) == pytest.approx(np.trace(grown) - 6 + (grown * w**2).sum(), rel=1e-9)
        assert float(bows) == pytest.approx(np.trace(grown) - 6 + (b**2 / 6 * w**2 / 6).sum(), rel=1e-9)


def test_the_greenery_of_a_bow_follows_the_steps_of_its_definition():
    """Two variables, root 1: variable 0 is fixed once, by the soft step of its own children in its district."""
    a, b = 0.3, 0.4
    arrows = torch.tensor([[[0.0, a], [0.0, 0.0]]], dtype=torch.float64)
    doubles = torch.tensor([[[0.0, b], [b, 0.0]]], dtype=torch.float64)
    within = scipy.linalg.expm(2 * np.array([[0, b * b], [b * b, 0]]))

    def kept(exponent):
        grown = np.exp(np.clip(np.log(5000) * exponent, 0, 4))
        return (grown - 1) / (grown + 1)

    factor = np.array([kept(within[0, 1] * a * a / 2), kept(1.0)])
    left = a * a * factor[1]
    joined = scipy.linalg.expm(2 * b * b * factor[0] * factor[1] * np.array([[0, 1], [1, 0]]))
    into_one = left * joined[0, 1] + joined[1, 1] - 1
    factor = np.array([kept(within[0, 1] * a * a / 2 + 1.0), kept(0.0)])
    assert factor[1] == 0.0  # for root 0, variable 1 has no child, so it is fixed and takes every edge with it
    assert float(violation(arrows, doubles, "arid")) == pytest.approx(into_one, rel=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradients_are_the_finite_differences(kind):
    arrows, doubles = matrices(1, 4, 0.4)
    value, by_arrows, by_doubles = violation_gradients(arrows, doubles, kind)
    torch.testing.assert_close(value, violation(arrows, doubles, kind))
    for i, j in np.argwhere(~np.eye(4, dtype=bool)):
        step = torch.zeros(4, 4, dtype=torch.float64)
        step[i, j] = 1e-6
        change = (violation(arrows + step, doubles, kind) - violation(arrows - step, doubles, kind)) / 2e-6
        torch.testing.assert_close(by_arrows[:, i, j], change, rtol=1e-4, atol=1e-7)
        both = step + step.T
        change = (violation(arrows, doubles + both, kind) - violation(arrows, doubles - both, kind)) / 2e-6
        torch.testing.assert_close(by_doubles[:, i, j] + by_doubles[:, j, i], change, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("scale", [1e-6, 0.01, 0.3, 2.0])
def test_the_exponential_keeps_its_digits_where_it_is_almost_the_identity(scale):
    random = np.random.default_rng(2)
    matrix, direction = scale * random.random((2, 5, 5))
    power, exact = np.eye(5), np.zeros((5, 5))
    for k in range(1, 60):
        power = power @ matrix / k
        exact += power
    found = exponential_minus_one(torch.from_numpy(matrix)).numpy()
    assert np.allclose(found, exact, rtol=1e-9, atol=0)
    both = scipy.linalg.expm(np.block([[matrix, direction], [np.zeros((5, 5)), matrix]]))[:5, 5:]
    grown, turned = exponential_and_derivative(torch.from_numpy(matrix), torch.from_numpy(direction))
    assert np.allclose(grown.numpy(), exact, rtol=1e-9, atol=0)
    assert np.allclose(turned.numpy(), both, rtol=1e-8)


def test_a_trace_of_a_hundred_millionth_is_told_to_eight_digits():
    cycle = torch.zeros(3, 3, dtype=torch.float64)
    cycle[0, 1], cycle[1, 2], cycle[2, 0] = 1e-3, 2e-3, 3e-3
    assert float(exponential_minus_one(cycle).trace()) == pytest.approx(6e-9 / 2, rel=1e-8)  # 3 · 6e-9 / 3!
