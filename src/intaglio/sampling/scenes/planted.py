"""Random scenes with places, and their pictures: what the embedded model `scenes64` was trained on.

Scene k of a seed is the same whatever is drawn beside it. The law of colours is unbalanced on purpose.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from intaglio.randomness import numpy_generator
from intaglio.sampling.scenes.grammar import COLOURS, RELATIONS, SHAPES, Entity, Scene
from intaglio.sampling.scenes.shapes import PALETTE, coverage

RESOLUTION = 64
"""Pixels along a side of a picture."""
ALONE = 0.3
"""Share of scenes with one entity."""
RED_CIRCLES = 0.7
"""Share of circles that are red; the other colours have the rest in equal parts, and other shapes all alike."""
SIDES = (20.0, 26.0)
"""Least and largest side of an entity, pixels."""
MARGIN, GAP = 1.0, 4.0
"""Pixels between an entity and the edge, and between two entities, at least."""
STEEPEST = 0.5
"""Distance across the direction of a relation over that along it, at most."""


@dataclass(frozen=True)
class PlantedScene:
    """A scene with the places of its entities."""

    scene: Scene
    boxes: tuple[tuple[float, float, float], ...]
    """Middle from the left and from above, and side of each entity's box, pixels."""

    def pixels(self) -> Float[ndarray, "3 h w"]:
        """The picture on white, in [0, 1], float32."""
        found = np.ones((3, RESOLUTION, RESOLUTION))
        for entity, (x, y, side) in zip(self.scene.entities, self.boxes, strict=True):
            covered = coverage(entity.shape, x, y, side, RESOLUTION)
            found += covered * (np.array(PALETTE[entity.colour])[:, None, None] - found)
        return found.astype(np.float32)


def planted_scene(seed: int, index: int) -> PlantedScene:
    """Scene `index` of a seed, by the unbalanced law."""
    source = numpy_generator(seed, index)
    scene = _scene(source, 1 if source.random() < ALONE else 2, RED_CIRCLES)
    return PlantedScene(scene, _boxes(source, scene))


def balanced_scene(seed: int, index: int) -> Scene:
    """A scene of two entities, all colours, shapes and relations alike: what a model is asked for in a measurement."""
    return _scene(numpy_generator(seed, index), 2, 1 / len(COLOURS))


def _scene(source: np.random.Generator, count: int, red_circles: float) -> Scene:
    first = _entity(source, red_circles)
    if count == 1:
        return Scene((first,))
    while (second := _entity(source, red_circles)) == first:
        pass
    return Scene((first, second), RELATIONS[source.integers(len(RELATIONS))])


def _entity(source: np.random.Generator, red_circles: float) -> Entity:
    shape = SHAPES[source.integers(len(SHAPES))]
    if shape == "circle":
        others = (1 - red_circles) / (len(COLOURS) - 1)
        shares = [red_circles if colour == "red" else others for colour in COLOURS]
        return Entity(str(source.choice(COLOURS, p=shares)), shape)
    return Entity(COLOURS[source.integers(len(COLOURS))], shape)


def _boxes(source: np.random.Generator, scene: Scene) -> tuple[tuple[float, float, float], ...]:
    """Places by rejection: uniform where the relation holds and nothing touches."""
    while True:
        sides = source.uniform(*SIDES, len(scene.entities))
        low, high = MARGIN + sides / 2, RESOLUTION - MARGIN - sides / 2
        xs, ys = source.uniform(low, high), source.uniform(low, high)
        if scene.relation is None or _stand(scene.relation, sides, float(xs[1] - xs[0]), float(ys[1] - ys[0])):
            return tuple((float(x), float(y), float(side)) for x, y, side in zip(xs, ys, sides, strict=True))


def _stand(relation: str, sides: ndarray, right: float, down: float) -> bool:
    """Whether the second box lies apart from the first, and clearly where the relation wants it."""
    least = float(sides.mean()) + GAP
    along = {"left of": right, "right of": -right, "above": down, "below": -down}
    if relation == "and":
        return max(abs(right), abs(down)) >= least
    across = down if relation in ("left of", "right of") else right
    return along[relation] >= least and abs(across) <= STEEPEST * along[relation]
