"""Graphs of random halves of the rows: the search repeated apart, resumed, and ended in time."""

import numpy as np
import pytest

from intaglio.causal.confounding.class_repair import AllowedGraphs, Edges
from intaglio.causal.confounding.edge_search import improved
from intaglio.causal.confounding.ricf import DistrictScores
from intaglio.causal.graphs.admg import ADMG
from intaglio.causal.graphs.knowledge import Knowledge
from intaglio.causal.methods.spot import half_samples
from intaglio.causal.methods.spot.half_samples import half_sample_graphs
from intaglio.randomness import numpy_generator
from intaglio.runs.deadline import Deadline
from intaglio.runs.run import Run
from linear_admgs import VERMA, rows_of
from loopback_cluster import Loopback

NAMES = tuple("abcd")
PAIRS = [(i, j) for i in range(4) for j in range(i + 1, 4)]
ALLOWED = AllowedGraphs(NAMES, "ancestral", Knowledge().constraints(NAMES, hidden_causes=True))


def standardised(rows: int = 200) -> np.ndarray:
    values = rows_of(ADMG.of(NAMES, VERMA), rows).to_numpy()
    return (values - values.mean(0)) / values.std(0)


def start() -> Edges:
    mag = ADMG.of(NAMES, VERMA).mag()
    return Edges(np.array(mag.directed), np.array(mag.bidirected))


def graphs(count: int = 4, in_time=lambda: True, run=None, seed: int = 0, deadline=None) -> list[Edges]:
    given = (standardised(), start(), ALLOWED, PAIRS, np.zeros((4, 4)), count, seed, in_time)
    return half_sample_graphs(*given, Run.none() if run is None else run, deadline=deadline)


def opened(folder) -> Run:
    return Run.open(folder, "discover", "spot", {}, {}, seed=0, device="cpu", command=(), progress="none")


def alike(one: list[Edges], two: list[Edges]) -> bool:
    return len(one) == len(two) and all(a.same_as(b) for a, b in zip(one, two, strict=True))


def test_each_is_the_search_on_a_half_of_the_rows_by_itself():
    found, rows = graphs(), standardised()
    for number, one in enumerate(found):
        random = numpy_generator(0, 1, number)
        half = rows[random.permutation(200)[:100]]
        scores = DistrictScores(np.corrcoef(half.T), 100)
        expected, _ = improved(start(), scores, ALLOWED, PAIRS, 2, random, lambda: True, np.zeros((4, 4)))
        assert one.same_as(expected)
        assert ALLOWED.holds(one)


def test_halves_of_few_rows_have_shrunken_correlations():
    """18 of 36 rows are fewer than five for each of four columns."""
    rows, costs = standardised(36), np.zeros((4, 4))
    found = half_sample_graphs(rows, start(), ALLOWED, PAIRS, costs, 3, 0, lambda: True, Run.none())
    expected = []
    for number in range(3):
        random = numpy_generator(0, 1, number)
        r = np.corrcoef(rows[random.permutation(36)[:18]].T)
        squared = r[np.triu_indices(4, 1)] ** 2
        share = ((1 - squared) ** 2).sum() / 17 / squared.sum()
        scores = DistrictScores(np.where(np.eye(4, dtype=bool), r, (1 - share) * r), 18)
        expected.append(improved(start(), scores, ALLOWED, PAIRS, 2, random, lambda: True, costs)[0])
    assert alike(found, expected)


def test_they_are_a_function_of_the_seed_and_differ_from_half_to_half():
    assert alike(graphs(2), graphs(2))
    assert alike(graphs(2), graphs(3)[:2])
    assert not alike(graphs(3), graphs(3, seed=1))


@pytest.mark.parametrize("killed_at", [0, 2])
def test_a_killed_search_resumes_at_its_half(tmp_path, monkeypatch, killed_at):
    whole, calls, real = graphs(), [], half_samples.improved

    def counted(*given):
        calls.append(1)
        if alive and len(calls) == killed_at + 1:
            raise KeyboardInterrupt
        return real(*given)

    monkeypatch.setattr(half_samples, "improved", counted)
    monkeypatch.setattr(Run, "save_state", lambda run, *given, every_s=0.0, save=Run.save_state: save(run, *given))
    alive = True
    with pytest.raises(KeyboardInterrupt), opened(tmp_path) as run:
        graphs(run=run)
    alive = False
    calls.clear()
    with opened(tmp_path) as run:
        assert alike(graphs(run=run), whole)
    assert len(calls) == 4 - killed_at


def test_it_ends_in_time_with_whole_halves_alone():
    assert graphs(in_time=lambda: False) == []
    asked = []
    found = graphs(in_time=lambda: asked.append(1) or len(asked) < 40)
    assert 0 < len(found) < 4
    assert alike(found, graphs(len(found)))


def test_no_halves_are_asked_for():
    assert graphs(0) == []


def test_on_a_cluster_halves_end_at_their_deadline():
    with Loopback().block():
        assert alike(graphs(2, deadline=Deadline.after(60)), graphs(2))
        assert graphs(2, deadline=Deadline.after(-1)) == []
