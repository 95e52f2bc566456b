import numpy as np

from intaglio.explain.slices.methods.domino import Domino
from slice_scenes import rows

SMALL = {"components": 4, "updates": 20, "batch": 16}
BAD = {"gain": -1.0}
PIECES = {"batch": 7}


def test_the_first_component_is_the_look_that_is_mistaken():
    given = rows()
    first = Domino(components=8).find(given)[0]
    top = np.argsort(-first.ranked(given), kind="stable")[:10]
    assert given.wrong[top].mean() >= 0.9
