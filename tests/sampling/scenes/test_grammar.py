from itertools import product

import pytest

from intaglio.errors import BadInput
from intaglio.sampling.scenes.grammar import COLOURS, RELATIONS, SHAPES, Entity, Scene, scene_of

EVERY = [Entity(colour, shape) for colour in COLOURS for shape in SHAPES]


def test_every_caption_leads_back_to_its_scene():
    scenes = [Scene((one,)) for one in EVERY]
    scenes += [Scene((a, b), relation) for a, b in product(EVERY, EVERY) for relation in RELATIONS]
    assert [scene_of(scene.caption) for scene in scenes] == scenes
    assert len({scene.caption for scene in scenes}) == len(scenes) == 24 + 24 * 24 * 5


def test_articles_letters_and_spaces_are_free():
    scene = Scene((Entity("red", "circle"), Entity("blue", "square")), "left of")
    assert scene.caption == "a red circle left of a blue square"
    for words in ("red circle left of blue square", "  A RED  circle Left  Of an blue square "):
        assert scene_of(words) == scene


@pytest.mark.parametrize(
    "words",
    [
        "",
        "circle",
        "a pink circle",
        "a red circle left a blue square",
        "a red circle left of",
        "a redcircle",
        "a red circle and a blue square and a green cross",
        "fox face, twemoji style",
    ],
)
def test_other_words_are_refused_with_an_example(words):
    with pytest.raises(BadInput, match="no caption of a scene; write one like 'a red circle'") as refusal:
        scene_of(words)
    assert "\n" not in str(refusal.value)
