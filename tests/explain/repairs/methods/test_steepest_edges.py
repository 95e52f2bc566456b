import pytest

import explain_scenes
from intaglio.explain.repairs.methods.cut_edges import CutEdges
from intaglio.explain.repairs.methods.steepest_edges import SteepestEdges

SMALL = {"most": 0.2}
BAD = {"most": 0.0}
PIECES = {"batch": 5}


def test_where_the_network_is_linear_gradients_say_what_cuts_say():
    scored, lessons = explain_scenes.marked_chain(), explain_scenes.marked_reds()
    estimated = SteepestEdges(most=1.0)(scored, *lessons).result
    measured = CutEdges(most=1.0, screened=9)(scored, *lessons).result
    (source, target, effect), (_, _, cut) = estimated.cut[0], measured.cut[0]
    assert (source.split()[1], target) in (("1", "the head"), ("1", "stages.1.0.0 1"), ("1", "stages.2.0.0 1"))
    assert effect == pytest.approx(cut, rel=1e-3)
