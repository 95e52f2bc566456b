import numpy as np
import pytest

from intaglio.errors import BadInput
from intaglio.explain.heads.methods.gated_places import GatedPlaces
from intaglio.explain.logistic_fits import chosen_logistic

SMALL = {"folds": 3, "strengths": (0.1,), "side": 2, "batch": 8, "steps": 10}
BAD = {"decay": -1.0}
PIECES = {"batch": 4}


def planted(count: int, seed: int):
    """Nine places, each of which says one of three classes; only in the one with a mark is it the picture's."""
    random = np.random.default_rng(seed)
    truth, at = np.arange(count) % 3, random.integers(9, size=count)
    said = random.integers(3, size=(count, 9))
    said[np.arange(count), at] = truth
    places = np.concatenate([np.eye(3)[said], np.zeros((count, 9, 1))], 2)
    places[np.arange(count), at, 3] = 1
    return places + 0.1 * random.standard_normal(places.shape), truth, at


def test_gates_open_where_the_label_is_and_it_is_named_where_a_mean_does_not_tell_it():
    places, truth, _ = planted(300, 0)
    new, right, there = planted(300, 1)
    head = GatedPlaces().fitted(places, truth, np.arange(300), 3)
    gates = head.gates(new)
    np.testing.assert_allclose(gates.sum(1), 1)
    assert gates[np.arange(300), there].mean() > 0.9
    assert (head.predict(new) == right).mean() > 0.97
    linear = chosen_logistic(places.mean(1), truth, np.arange(300), (1.0,), 0)
    assert (linear.predict(new.mean(1)) == right).mean() < 0.8
    told = head.explained(new, [str(k) for k in range(300)], right, ("a", "b", "c"))
    assert [name for name, _ in told.gates] == ["0", "1", "2"]
    np.testing.assert_allclose(told.gates[1][1], gates[1])
    assert head.sizes(new[:1]).tolist() == [9.0]


def test_pictures_of_one_place_are_refused():
    with pytest.raises(BadInput, match="one place a picture"):
        GatedPlaces().fitted(np.ones((4, 1, 2)), np.arange(4) % 2, np.arange(4), 2)
