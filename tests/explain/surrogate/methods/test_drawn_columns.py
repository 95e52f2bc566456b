import surrogate_scenes
from intaglio.explain.surrogate.methods.drawn_columns import DrawnColumns

SMALL = {"trees": 5, "most": 4, "depth": 2}
BAD = {"depth": 6}
PIECES = {}


def test_columns_that_the_black_box_does_not_look_at_tell_nothing():
    found = DrawnColumns(trees=5, count=3, most=3, seed=1)(surrogate_scenes.planted(300, 400))
    assert not {one.name for one in found.features} & {"f7", "f200", "f399"}
    assert found.fidelity.value < 0.1
    assert "not shown to tell more than the mean answer" in found.warnings[0]
    other = DrawnColumns(trees=5, count=3, most=3, seed=2)(surrogate_scenes.planted(300, 400))
    assert {one.name for one in other.features} != {one.name for one in found.features}
