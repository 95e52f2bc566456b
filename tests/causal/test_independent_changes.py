"""Phases 3 and 4 of CD-NOD: module matrices by their formulas, and directions from independent changes."""

import numpy as np
import pytest

from intaglio.causal.independence.variables import Variables
from intaglio.causal.methods.cd_nod import independent_changes, regimes
from intaglio.causal.methods.cd_nod.driving_forces import principal_components, shared_change
from intaglio.causal.methods.cd_nod.independent_changes import IndependentChanges, with_sink
from intaglio.causal.methods.cd_nod.modules import MOST_POINTS, MOST_ROWS, Modules, dependence, similarities
from intaglio.causal.methods.cd_nod.orientation import PartialDag


def timed(rows=50, seed=0) -> Variables:
    """x, y and z, of them y = x + noise, and a time."""
    random = np.random.default_rng(seed)
    x, z, noise = random.standard_normal((3, rows))
    return Variables(np.column_stack([x, x + noise, z, np.arange(rows)]), (0,) * 4, (None, None, None, 0.2))


def kernel(values, width):
    return np.exp(-((values[:, None] - values) ** 2) / (2 * width**2))


def test_module_matrices_are_the_sums_of_their_definition():
    """E ⟨P̂(Y | q, s), P̂(Y | q, t)⟩ over pooled q, as a sum over all rows, against products of matrices."""
    variables, modules = timed(20), Modules.of(timed(20))
    x, y, _, c = variables.values.T
    k_x, k_y, k_c = kernel(x, 0.5), kernel(y, 0.5), kernel(c, 0.2)
    inverse = np.linalg.inv(k_x * k_c + 0.1 * np.eye(20))
    # The weights of the rows in the estimate of P(Y | q, t), for each q and t: [row, q, t].
    weights = np.einsum("ij,jq,jt->iqt", inverse, k_x, k_c)
    # The operator is compared at two values q, q' by the kernel of q and q'.
    direct = np.einsum("iqs,ij,jrt,qr->st", weights, k_y, weights, k_x) / 20**2
    assert np.array_equal(modules.points, np.arange(20))
    assert np.allclose(modules.conditional(1, (0,)), direct, rtol=1e-8)
    smoother = np.linalg.inv(k_c + 0.1 * np.eye(20)) @ k_c
    assert np.allclose(modules.marginal(0), smoother.T @ k_x @ smoother, rtol=1e-8)
    joint = np.exp(-((x[:, None] - x) ** 2 + (y[:, None] - y) ** 2) / (2 * 0.5**2 * 2))
    assert np.allclose(modules.joint((0, 1)), smoother.T @ joint @ smoother, rtol=1e-8)
    assert np.allclose(modules.module(0, ()), modules.marginal(0))


def test_similarities_and_dependence_are_those_of_their_definition():
    random = np.random.default_rng(0)
    one, two = (random.standard_normal((12, 3)) for _ in range(2))
    squared = ((one[:, None] - one) ** 2).sum(-1)
    median = np.median(squared[np.tril_indices(12, -1)])
    gram = similarities(one @ one.T)
    assert np.allclose(gram, np.exp(-squared / (2 * median)))
    middle = np.eye(12) - 1 / 12
    first, second = middle @ gram @ middle, middle @ similarities(two @ two.T) @ middle
    expected = np.trace(first @ second) / np.sqrt(np.trace(first @ first) * np.trace(second @ second))
    assert dependence(gram, similarities(two @ two.T)) == pytest.approx(expected)
    assert dependence(gram, gram) == pytest.approx(1.0)
    assert dependence(gram, np.ones((12, 12))) == 0.0
    assert np.array_equal(similarities(np.zeros((4, 4))), np.ones((4, 4)))


def test_long_tables_are_thinned_evenly_over_the_context():
    rows = MOST_ROWS + 700
    random = np.random.default_rng(0)
    values = np.column_stack([random.standard_normal(rows), random.permutation(rows)])
    modules = Modules.of(Variables(values, (0, 0), (None, 0.2)))
    assert len(modules.variables) == MOST_ROWS
    assert len(modules.points) == MOST_POINTS
    assert (np.diff(modules.variables.values[:, 1]) > 0).all()
    values[:, 1] = np.where(np.arange(rows) < 40, 1, np.where(np.arange(rows) < 900, 0, 2))
    domains = Modules.of(Variables(values, (0, 3)))
    assert len(domains.points) == 3
    assert np.bincount(domains.variables.codes(1)).min() >= 25


def by_regime(seed, count=24, rows=480, variables=3, *, shared=False) -> Variables:
    """A chain whose noises have scales of their own in each domain, or one scale for all."""
    random = np.random.default_rng(seed)
    domain = np.arange(rows) * count // rows
    common = random.standard_normal(count)[domain]
    columns: list[np.ndarray] = []
    for _ in range(variables):
        scale = np.exp(common if shared else random.standard_normal(count)[domain])
        before = columns[-1] if columns else 0.0
        columns.append(0.8 * before + 0.5 * scale * random.standard_normal(rows))
    return Variables(np.column_stack([*columns, domain]), (*(0,) * variables, count))


def undirected_chain(variables) -> PartialDag:
    """A chain without directions, all of it changing."""
    undirected, directed = (np.zeros((variables + 1, variables + 1), bool) for _ in range(2))
    for k in range(variables - 1):
        undirected[k, k + 1] = undirected[k + 1, k] = True
    directed[-1, :-1] = True
    return PartialDag(directed, undirected, {})


def searched(variables: Variables, graph: PartialDag, **changes):
    settings = {"least_regimes": 8, "seed": 0, "late": lambda: False} | changes
    return IndependentChanges(Modules.of(variables), **settings)(graph)


def test_a_chain_with_independent_changes_is_oriented_and_resamples_tell_how_surely(monkeypatch):
    monkeypatch.setattr(independent_changes, "LEAST_SHARE", 0.0)
    monkeypatch.setattr(independent_changes, "RESAMPLES", 40)
    right, sure = [], []
    for seed in range(8):
        found, decisions = searched(by_regime(seed), undirected_chain(3))
        right.append(bool(found.directed[0, 1] and found.directed[1, 2]))
        # The true sink of the whole chain is its end, of what is left the one before.
        sure += [(one.sink, 2 - k) for k, one in enumerate(decisions) if one.share >= 0.8]
    assert sum(right) >= 7
    assert len(sure) >= 10
    assert np.mean([sink == true for sink, true in sure]) >= 0.9


def test_a_sink_comes_with_its_score_its_share_and_its_reason():
    found, decisions = searched(by_regime(0), undirected_chain(3))
    assert found.reasons[1, 2] == "independent changes"
    assert decisions[0].sink == 2
    assert decisions[0].tails == (1,)
    assert decisions[0].regimes == 24
    assert decisions[0].accepted
    assert decisions[0].score < decisions[0].runner_up
    assert decisions[0].share >= 0.8


def test_few_regimes_one_driver_and_unsteady_sinks_leave_edges_undirected(monkeypatch):
    chain = undirected_chain(2)
    found, (few,) = searched(by_regime(0, count=4, variables=2), chain)
    assert found.undirected[0, 1]
    assert "4 independent regimes" in few.why
    found, (shared,) = searched(by_regime(0, variables=2, shared=True), chain)
    assert found.undirected[0, 1]
    assert "one driver" in shared.why
    monkeypatch.setattr(independent_changes, "LEAST_SHARE", 1.01)
    found, (unsteady,) = searched(by_regime(0, variables=2), chain)
    assert found.undirected[0, 1]
    assert "of resamples" in unsteady.why


def test_no_sink_that_makes_a_collider_or_a_cycle():
    """x0 → x1 — x2 with x0 and x2 apart: x1 must not become a sink, whatever the scores."""
    graph = undirected_chain(3)
    directed, undirected = graph.directed.copy(), graph.undirected.copy()
    directed[0, 1], undirected[0, 1], undirected[1, 0] = True, False, False
    assert with_sink(PartialDag(directed, undirected, {}), 1) is None
    assert with_sink(PartialDag(directed, undirected, {}), 2) is not None
    for seed in range(2):
        found, decisions = searched(by_regime(seed), PartialDag(directed, undirected, {}))
        assert not found.directed[2, 1]
        assert all(decision.sink != 1 for decision in decisions)
        assert found.consistent()


def test_variables_that_do_not_change_are_never_oriented_by_changes():
    graph = undirected_chain(3)
    directed = graph.directed.copy()
    directed[-1, 2] = False
    found, _ = searched(by_regime(0), PartialDag(directed, graph.undirected, {}))
    assert found.undirected[1, 2] or found.reasons.get((1, 2)) == "Meek"


def test_no_time_left_means_no_choice():
    found, decisions = searched(by_regime(0), undirected_chain(3), late=lambda: True)
    assert decisions == ()
    assert np.array_equal(found.undirected, undirected_chain(3).undirected)


# Regimes


def test_the_correlation_length_of_a_smooth_drift_is_that_of_its_kernel():
    random = np.random.default_rng(0)
    positions = np.linspace(-1.7, 1.7, 120)
    lengths = []
    for width in (0.1, 0.3):
        roots = np.linalg.cholesky(kernel(positions, width) + 1e-9 * np.eye(120))
        drives = roots @ random.standard_normal((120, 40))
        lengths.append(regimes.correlation_length(drives @ drives.T, positions))
        assert lengths[-1] == pytest.approx(width, rel=0.45)
    assert regimes.regimes([np.eye(5)] * 2, None) == 5
    trend = np.outer(positions, positions)
    assert regimes.regimes([trend], positions) < 8


def test_blocks_are_runs_of_neighbours_that_cover_all_points():
    parts = regimes.blocks(50, 8)
    assert np.array_equal(np.concatenate(parts), np.arange(50))
    assert {len(part) for part in parts} == {6, 7}
    assert len(regimes.blocks(3, 8)) == 3


# Driving forces


def test_a_curve_of_a_module_is_the_drive_itself():
    random = np.random.default_rng(0)
    drive = np.sin(np.linspace(0, 6, 60))
    points = np.column_stack([3 * drive, 0.01 * random.standard_normal(60)])
    curves, shares = principal_components(points @ points.T)
    assert abs(np.corrcoef(curves[0], drive)[0, 1]) > 0.999
    assert shares[0] > 0.99
    assert len(curves) == 2
    assert curves[0][np.abs(curves[0]).argmax()] > 0
    assert np.allclose(np.linalg.norm(curves[0]), np.linalg.norm(3 * (drive - drive.mean())), rtol=0.01)
    empty, none = principal_components(np.ones((5, 5)))
    assert len(empty) == len(none) == 0


def test_the_share_of_one_driver_is_the_correlation_of_leading_components():
    random = np.random.default_rng(0)
    drive, other = random.standard_normal((2, 40))
    one, two = np.outer(drive, drive), np.outer(other, other)
    assert shared_change(one, one) == pytest.approx(1.0)
    assert shared_change(one, two) == pytest.approx(abs(np.corrcoef(drive, other)[0, 1]))
    assert shared_change(one, np.ones((40, 40))) == 0.0
