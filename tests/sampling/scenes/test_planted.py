from collections import Counter

import numpy as np

from intaglio.sampling.scenes.grammar import COLOURS, RELATIONS, SHAPES, scene_of
from intaglio.sampling.scenes.planted import balanced_scene, planted_scene

COUNT = 2000


def test_the_law_is_the_one_that_is_told():
    scenes = [planted_scene(1, index).scene for index in range(600)]
    alone = np.mean([len(scene.entities) == 1 for scene in scenes])
    assert abs(alone - 0.3) < 4 * np.sqrt(0.3 * 0.7 / 600)
    circles = [one.colour for scene in scenes for one in scene.entities if one.shape == "circle"]
    # No scene has one entity twice, so that a second red circle is a little rarer.
    assert 0.62 < np.mean([colour == "red" for colour in circles]) < 0.72
    others = Counter(one.colour for scene in scenes for one in scene.entities if one.shape != "circle")
    assert set(others) == set(COLOURS)
    assert max(others.values()) < 1.5 * min(others.values())
    assert {scene.relation for scene in scenes} == {None, *RELATIONS}


def test_nothing_touches_and_relations_hold_by_a_margin():
    holds = {
        "left of": lambda right, down: right > 0 and abs(down) <= right / 2,
        "right of": lambda right, down: right < 0 and abs(down) <= -right / 2,
        "above": lambda right, down: down > 0 and abs(right) <= down / 2,
        "below": lambda right, down: down < 0 and abs(right) <= -down / 2,
        "and": lambda right, down: True,
    }
    for index in range(300):
        one = planted_scene(2, index)
        for x, y, side in one.boxes:
            assert side / 2 + 1 <= min(x, y)
            assert max(x, y) <= 63 - side / 2
        if one.scene.relation is not None:
            (x, y, side), (x2, y2, side2) = one.boxes
            assert max(abs(x2 - x), abs(y2 - y)) - (side + side2) / 2 >= 4
            assert holds[one.scene.relation](x2 - x, y2 - y)


def test_a_scene_is_a_function_of_seed_and_index():
    first = planted_scene(3, 7)
    assert first == planted_scene(3, 7)
    assert first != planted_scene(4, 7)
    assert np.array_equal(first.pixels(), planted_scene(3, 7).pixels())
    assert len({planted_scene(3, index).scene.caption for index in range(50)}) > 30


def test_a_picture_is_ink_on_white():
    pixels = planted_scene(3, 7).pixels()
    assert pixels.dtype == np.float32
    assert pixels.shape == (3, 64, 64)
    assert (pixels[:, 0] == 1).all()
    assert 0 <= pixels.min() < 0.9


def test_balanced_scenes_favour_nothing():
    scenes = [balanced_scene(0, index) for index in range(COUNT)]
    for found, known in (
        ([one.colour for scene in scenes for one in scene.entities], COLOURS),
        ([one.shape for scene in scenes for one in scene.entities], SHAPES),
        ([scene.relation for scene in scenes], RELATIONS),
    ):
        count = Counter(found)
        share = 1 / len(known)
        margin = 4.5 * np.sqrt(share * (1 - share) / len(found))
        assert all(abs(count[name] / len(found) - share) < margin for name in known)
    assert all(len(set(scene.entities)) == 2 for scene in scenes)
    assert all(scene_of(scene.caption) == scene for scene in scenes[:50])
