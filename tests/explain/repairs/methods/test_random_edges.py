import explain_scenes
from intaglio.explain.repairs.methods.random_edges import RandomEdges

SMALL = {"most": 0.2}
BAD = {"most": 1.5}
PIECES = {"batch": 5}


def test_other_seeds_cut_other_edges_and_every_edge_may_be_cut():
    scored, lessons = explain_scenes.marked_chain(), explain_scenes.marked_reds()
    found = [RandomEdges(most=0.3, seed=seed)(scored, *lessons).result for seed in range(6)]
    assert len({one.cut for one in found}) > 2
    assert {target for one in found for _, target, _ in one.cut} >= {"the head"}
