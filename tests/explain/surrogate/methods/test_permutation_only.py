import numpy as np

import surrogate_scenes
from intaglio.explain.surrogate.methods.permutation_only import PermutationOnly

SMALL = {"trees": 5, "most": 4, "depth": 2}
BAD = {"permutations": 0}
PIECES = {}


def test_a_black_box_that_can_be_asked_tells_what_it_does_not_look_at():
    rows = surrogate_scenes.planted(120, 220, ask=surrogate_scenes.says)
    found = PermutationOnly(trees=5, count=4)(rows)
    assert {one.name for one in found.features[:3]} == {"f7", "f200", "f219"}
    assert found.features[3].scores == {"perturbing": 0}
    for one in found.counterfactuals:
        moved = rows.features[[rows.names.index(one.row)]].copy()
        for name, (_, new) in one.moves.items():
            moved[0, rows.columns.index(name)] = new
        assert one.says == rows.classes[int(np.argmax(surrogate_scenes.says(moved)))]
