"""Vicinal tuning of the cascade: its data sets derived apart, a wrong calibration put right, resumed, and in time."""

from dataclasses import replace

import numpy as np
import pytest

from intaglio.causal.confounding.class_repair import Edges
from intaglio.causal.confounding.ricf import DistrictScores
from intaglio.causal.graphs.admg import ADMG
from intaglio.causal.methods.spot import half_samples
from intaglio.causal.methods.spot.cascade import second_features, shipped_cascade
from intaglio.causal.methods.spot.correlations import Correlations
from intaglio.causal.methods.spot.posterior_quality import posterior_quality
from intaglio.causal.methods.spot.vicinal import STATE, VicinalTuning
from intaglio.randomness import numpy_generator
from intaglio.runs.run import Run
from linear_admgs import VERMA, rows_of

NAMES = tuple("abcde")
TRUTH = ADMG.of(NAMES, [("a", "-->", "b"), ("b", "-->", "c"), ("d", "-->", "c"), ("d", "<->", "e")])
UPPER = np.triu_indices(5, 1)


def table(rows: int = 300):
    values = rows_of(TRUTH, rows).to_numpy()
    return Correlations.of_rows(values, NAMES), values


def tuned(cascade=None, rows: int = 300, count: int = 8, seed: int = 0, in_time=lambda: True, run=None):
    given, values = table(rows)
    cascade = shipped_cascade() if cascade is None else cascade
    return VicinalTuning(count, seed, 0.01)(cascade, given, values, in_time, Run.none() if run is None else run)


def alike(one, two) -> bool:
    same = one.flags == two.flags
    return same and all(np.array_equal(getattr(one, name), getattr(two, name)) for name in ("posterior", "inclusion"))


def test_a_data_set_has_rows_of_the_fitted_graph_and_labels_of_its_mag():
    """VERMA's chain is no MAG: a and d, without an edge, are adjacent in it."""
    graph = ADMG.of("abcd", VERMA)
    values = rows_of(graph, 400).to_numpy()
    given, cascade = Correlations.of_rows(values, tuple("abcd")), shipped_cascade()
    edges = Edges(np.array(graph.directed), np.array(graph.bidirected))
    features, adjacent = VicinalTuning(8, 5, 0.01)._data_set(cascade, given, edges, 2)
    assert adjacent.tolist() == graph.mag().skeleton[np.triu_indices(4, 1)].tolist()
    fitted = DistrictScores(given.matrix, 400).fit(edges.directed, edges.bidirected)
    inverse = np.linalg.inv(np.eye(4) - fitted.arrows)
    covariance = inverse.T @ fitted.errors @ inverse
    draws = numpy_generator(5, 3, 2).standard_normal((400, 4))
    rows = Correlations.of_rows(draws @ np.linalg.cholesky(covariance).T, tuple("abcd"))
    expected = second_features(cascade.first, rows.matrix, 400, 0)
    assert features[:, :-1] == pytest.approx(expected, nan_ok=True)
    assert features[:, -1] == pytest.approx(cascade.second.log_odds(expected))


@pytest.mark.parametrize(("hidden", "shift"), [(True, -6.0), (False, 6.0)])
def test_a_wrong_calibration_is_put_right(hidden, shift):
    """A cascade whose odds are e⁶ times too low or too high; data sets like the table know their own odds."""
    calibrations = {k: replace(c, offset=c.offset + shift) for k, c in shipped_cascade().calibrations.items()}
    wrong = replace(shipped_cascade(), calibrations=calibrations, hidden_causes=hidden)
    truth = TRUTH.mag().skeleton[UPPER]
    before = posterior_quality(wrong(table()[0]).posterior[UPPER], truth)
    after = posterior_quality(tuned(wrong).posterior[UPPER], truth)
    assert after.log_loss < 0.7 * before.log_loss


@pytest.fixture(scope="module")
def whole():
    return tuned()


def test_it_is_a_function_of_the_seed(whole):
    assert alike(whole, tuned())
    assert not alike(whole, tuned(seed=1))


def test_a_killed_tuning_resumes_at_its_data_set(tmp_path, monkeypatch, whole):
    calls, real, kept = [], half_samples.improved, Run.save_state

    def counted(*given):
        calls.append(1)
        if alive and len(calls) == 6:
            raise KeyboardInterrupt
        return real(*given)

    def opened():
        return Run.open(tmp_path, "discover", "spot", {}, {}, seed=0, device="cpu", command=(), progress="none")

    monkeypatch.setattr(half_samples, "improved", counted)
    monkeypatch.setattr(Run, "save_state", lambda run, *given, every_s=0.0: kept(run, *given))
    alive = True
    with pytest.raises(KeyboardInterrupt), opened() as run:
        tuned(run=run)
    alive = False
    calls.clear()
    with opened() as run:
        assert alike(tuned(run=run), whole)
        assert run.load_state(STATE) is not None
        assert run.load_state(half_samples.STATE) is None
    assert len(calls) == 3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"in_time": lambda: False}, "the time was over after 0 of 8 vicinal data sets"),
        ({"rows": 12}, "half of the 12 rows are too few for a graph of 5 variables"),
    ],
)
def test_where_it_cannot_be_tuned_the_cascades_posterior_stands_and_says_so(changes, words):
    made = tuned(**changes)
    plain = shipped_cascade()(table(changes.get("rows", 300))[0])
    assert np.array_equal(made.posterior, plain.posterior)
    assert made.flags[-1].startswith(words)
    assert made.flags[-1].endswith("(--vicinal)")


def test_graphs_without_any_edge_leave_the_posterior_as_it_was():
    values = np.random.default_rng(3).standard_normal((300, 5))
    given = Correlations.of_rows(values, NAMES)
    made = VicinalTuning(8, 0, 1.0)(shipped_cascade(), given, values, lambda: True, Run.none())
    assert made.flags[-1].startswith("the graphs of all vicinal data sets have every pair or none adjacent")
    assert np.array_equal(made.posterior, shipped_cascade()(given).posterior)
