from dataclasses import replace

import numpy as np
import pytest
import torch

from intaglio.models.diffusion.loading import load_model
from intaglio.models.testbed import base_path
from intaglio.sampling.scenes.grammar import COLOURS, SHAPES, Entity, Scene, scene_of
from intaglio.sampling.scenes.planted import PlantedScene, planted_scene
from intaglio.sampling.scenes.recognition import checked, pixel_colours, seen_objects, unparsed
from intaglio.sampling.scenes.shapes import PALETTE

PAIRS = [Entity(colour, shape) for colour in COLOURS for shape in SHAPES]
OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}


def drawn(*objects, relation="and"):
    """A picture of `(words, x, y, side)`."""
    entities = tuple(Entity(*words.split()) for words, *_ in objects)
    return PlantedScene(
        Scene(entities, relation), tuple((float(x), float(y), float(side)) for _, x, y, side in objects)
    ).pixels()


def check(caption, *objects):
    return checked(scene_of(caption), seen_objects(drawn(*objects)))


# Planted pictures


@pytest.mark.parametrize("entity", PAIRS, ids=str)
def test_every_colour_and_shape_is_told_from_all_others(entity):
    for side in (20.0, 23.3, 26.0):
        pixels = PlantedScene(Scene((entity,)), ((31.4, 30.7, side),)).pixels()
        (seen,) = seen_objects(pixels)
        assert [one for one in PAIRS if seen.shows(one)] == [entity]
        assert (seen.x, seen.overlap > 0.9) == (pytest.approx(31.4, abs=0.5), True)
        assert checked(Scene((entity,)), [seen]).correct


def test_planted_scenes_are_read_exactly():
    for index in range(200):
        planted = planted_scene(5, index)
        seen, scene = seen_objects(planted.pixels()), planted.scene
        assert checked(scene, seen).correct
        if scene.relation is None:
            continue
        a, b = scene.entities
        crossed = Scene((Entity(b.colour, a.shape), Entity(a.colour, b.shape)), scene.relation)
        if a.colour != b.colour and a.shape != b.shape:
            found = checked(crossed, seen)
            assert (found.colours, found.shapes, found.bound, found.placed) == (
                (True,) * 2,
                (True,) * 2,
                (False,) * 2,
                False,
            )
        if scene.relation in OPPOSITE:
            found = checked(replace(scene, relation=OPPOSITE[scene.relation]), seen)
            assert (found.bound, found.placed, found.share) == ((True, True), False, 7 / 8)


def test_scenes_are_read_after_the_embedded_autoencoder():
    model = load_model(base_path())
    alone = [PlantedScene(Scene((entity,)), ((31.4, 30.7, 22.0),)) for entity in PAIRS]
    planted = [*alone, *(planted_scene(6, index) for index in range(16))]
    with torch.no_grad():
        pixels = model.decode(model.encode(torch.stack([torch.from_numpy(one.pixels()) for one in planted]))).numpy()
    wrong = [one.scene.caption for one, picture in zip(planted, pixels, strict=True) if not right(one.scene, picture)]
    assert not wrong


def right(scene, pixels):
    return checked(scene, seen_objects(pixels)).correct


# Pixels


@pytest.mark.parametrize("colour", COLOURS)
def test_a_pale_rim_is_of_its_colour_or_white(colour):
    ink = 1 - np.array(PALETTE[colour], dtype=np.float32)
    rim = 1 - np.array([1.0, 0.8, 0.55, 0.45, 0.1, 0.0])[None] * ink[:, None]
    assert pixel_colours(rim[:, None]).tolist() == [[COLOURS.index(colour)] * 3 + [-1] * 3]


# Pictures that are no scene


def test_a_blank_picture_has_no_object():
    found = checked(scene_of("a red circle"), seen_objects(np.ones((3, 64, 64), dtype=np.float32)))
    assert (found.problem, found.share, found.correct) == ("no object", 0.0, False)


@pytest.mark.parametrize("kind", ["uniform", "normal", "grey", "smooth"])
def test_noise_is_no_scene(kind):
    source = np.random.default_rng(3)
    for _ in range(10):
        pixels = {
            "uniform": lambda: source.random((3, 64, 64)),
            "normal": lambda: np.clip(0.5 + 0.3 * source.standard_normal((3, 64, 64)), 0, 1),
            "grey": lambda: np.broadcast_to(source.random((1, 64, 64)), (3, 64, 64)),
            "smooth": lambda: source.random((3, 8, 8)).repeat(8, 1).repeat(8, 2),
        }[kind]()
        seen = seen_objects(pixels.astype(np.float32))
        assert unparsed(seen) is not None
        assert checked(scene_of("a red circle and a blue square"), seen).share == 0


def test_three_objects_are_too_many():
    found = check(
        "a red circle left of a blue square",
        ("red circle", 14, 16, 20),
        ("blue square", 48, 16, 20),
        ("green cross", 30, 48, 20),
    )
    assert (found.problem, found.share) == ("3 objects, where a scene has one or two", 0.0)
    assert found.bound == (True, True)
    assert not found.counted


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("places", [((20, 30), (41, 30)), ((30, 20), (30, 40)), ((20, 28), (33, 34))])
def test_two_of_the_same_that_touch_are_no_known_shape(shape, places):
    found = check(f"a red {shape} and a red {shape}", *((f"red {shape}", x, y, 22) for x, y in places))
    assert (found.problem, found.share) == ("a red object of no known shape", 0.0)


# Constraints


def test_equal_entities_need_an_object_each():
    one, two = ("red circle", 14, 30, 20), ("red circle", 48, 30, 20)
    alone = check("a red circle and a red circle", one)
    assert (alone.colours, alone.bound, alone.placed, alone.counted) == ((True, False), (True, False), False, False)
    assert check("a red circle and a red circle", one, two).correct
    assert check("a red circle left of a red circle", one, two).correct


def test_a_share_counts_eight_constraints_or_five():
    red, blue = ("red circle", 14, 30, 20), ("blue square", 48, 30, 20)
    assert check("a red circle", red).share == 1
    assert check("a red circle", red, blue).share == pytest.approx(4 / 5)
    assert check("a blue circle", red).share == pytest.approx(2 / 5)
    assert check("a red circle left of a blue square", red).share == pytest.approx(3 / 8)
    assert check("a red circle right of a blue square", red, blue).share == pytest.approx(7 / 8)
    assert check("a blue circle left of a red square", red, blue).share == pytest.approx(5 / 8)


@pytest.mark.parametrize(
    ("right_by", "down_by", "holding"), [(20, 6, "left of"), (-20, 6, "right of"), (6, 20, "above"), (6, -20, "below")]
)
def test_one_relation_holds_by_the_longer_way(right_by, down_by, holding):
    places = (
        ("red circle", 32 - right_by, 32 - down_by, 18),
        ("blue square", 32 + right_by * 0.6, 32 + down_by * 0.6, 18),
    )
    holds = [
        one
        for one in ("left of", "right of", "above", "below")
        if check(f"a red circle {one} a blue square", *places).placed
    ]
    assert holds == [holding]
    assert check("a red circle and a blue square", *places).correct
