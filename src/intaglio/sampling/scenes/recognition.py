"""Recognition of coloured shapes in a picture on white: colour by pixel, parts that hang together, shape by overlap."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy import ndimage

from intaglio.sampling.scenes.grammar import COLOURS, SHAPES, Entity, Scene
from intaglio.sampling.scenes.shapes import PALETTE, template

LEAST_AREA = 40
"""Pixels of a part of one colour below which it is no object."""
MOST_OBJECTS = 2
"""Objects of a scene."""
LEAST_COVERED = 0.5
"""Share of a colour in a pixel of colour and white from which the pixel counts as of that colour."""
LEAST_OVERLAP = 0.75
"""Intersection over union with a shape's template from which an object has that shape."""


@dataclass(frozen=True)
class SeenObject:
    """A part of a picture that has one colour and hangs together."""

    colour: str
    shape: str | None
    """The shape whose template overlaps most; None where no overlap reaches `LEAST_OVERLAP`."""
    x: float
    """Of the centre of mass, pixels from the left."""
    y: float
    """Likewise, from above."""
    area: int
    """Pixels."""
    overlap: float
    """Intersection over union with the template of the likeliest shape."""

    def shows(self, entity: Entity) -> bool:
        """Whether it has the entity's colour and shape."""
        return (self.colour, self.shape) == (entity.colour, entity.shape)


def seen_objects(pixels: Float[ndarray, "3 h w"]) -> list[SeenObject]:
    """The objects in a picture in [0, 1], the largest first."""
    colours, found = pixel_colours(pixels), list[SeenObject]()
    for index, colour in enumerate(COLOURS):
        parts, count = cast(tuple[ndarray, int], ndimage.label(colours == index))
        for part in range(1, count + 1):
            mask = parts == part
            if mask.sum() >= LEAST_AREA:
                found.append(_seen(colour, mask))
    return sorted(found, key=lambda one: -one.area)


def pixel_colours(pixels: Float[ndarray, "3 h w"]) -> Int[ndarray, "h w"]:
    """Index in `COLOURS` of each pixel, -1 for white.

    A pixel is taken as a mixture of white and one colour, the one that leaves the least rest; so the pale rim of a
    shape, which is such a mixture, is never of another colour than the shape.
    """
    ink = 1 - pixels.transpose(1, 2, 0).astype(np.float64)
    full = 1 - np.array([PALETTE[colour] for colour in COLOURS])
    share = np.clip(ink @ full.T / np.square(full).sum(1), 0, 1)
    rest = np.square(ink[:, :, None] - share[..., None] * full).sum(-1)
    nearest = rest.argmin(-1)
    covered = np.take_along_axis(share, nearest[..., None], -1)[..., 0]
    return np.where(covered >= LEAST_COVERED, nearest, -1)


def _seen(colour: str, mask: Bool[ndarray, "h w"]) -> SeenObject:
    rows, columns = mask.nonzero()
    x, y, area = float(columns.mean()) + 0.5, float(rows.mean()) + 0.5, len(rows)
    overlaps = [_overlap(mask, template(shape, float(area), x, y, *mask.shape)) for shape in SHAPES]
    best = int(np.argmax(overlaps))
    shape = SHAPES[best] if overlaps[best] >= LEAST_OVERLAP else None
    return SeenObject(colour, shape, x, y, area, overlaps[best])


def _overlap(one: Bool[ndarray, "h w"], other: Bool[ndarray, "h w"]) -> float:
    """Intersection over union."""
    return float((one & other).sum() / (one | other).sum())


def related(relation: str, first: SeenObject, second: SeenObject) -> bool:
    """Whether a relation holds: by the direction in which the centres lie farther apart."""
    right, down = second.x - first.x, second.y - first.y
    if relation == "and":
        return True
    if relation in ("left of", "right of"):
        return abs(right) > abs(down) and (right > 0) == (relation == "left of")
    return abs(down) > abs(right) and (down > 0) == (relation == "above")


def unparsed(seen: Sequence[SeenObject]) -> str | None:
    """Reason that objects make no scene, in a few words; None for one or two objects of known shapes."""
    if not seen:
        return "no object"
    if len(seen) > MOST_OBJECTS:
        return f"{len(seen)} objects, where a scene has one or two"
    strange = [one.colour for one in seen if one.shape is None]
    return f"a {strange[0]} object of no known shape" if strange else None


@dataclass(frozen=True)
class SceneCheck:
    """Constraints of a scene that a picture meets."""

    colours: tuple[bool, ...]
    """For each entity whether an object has its colour, another one for each entity."""
    shapes: tuple[bool, ...]
    """Likewise, its shape."""
    bound: tuple[bool, ...]
    """Likewise, both at once."""
    placed: bool
    """Whether two objects that show the entities stand in the relation; for one entity whether it is there."""
    counted: bool
    """Whether there are as many objects as entities."""
    problem: str | None = None
    """Reason that the picture is no scene at all (see `unparsed`)."""

    @property
    def share(self) -> float:
        """Share of the constraints that are met, in [0, 1]; 0 for a picture that is no scene."""
        met = [*self.colours, *self.shapes, *self.bound, self.placed, self.counted]
        return sum(met) / len(met) if self.problem is None else 0.0

    @property
    def correct(self) -> bool:
        """Whether all are met."""
        return self.share == 1.0


def checked(scene: Scene, seen: Sequence[SeenObject]) -> SceneCheck:
    """A scene's constraints against the objects of a picture."""
    wanted = scene.entities
    if scene.relation is None:
        placed = any(one.shows(wanted[0]) for one in seen)
    else:
        firsts, seconds = ([one for one in seen if one.shows(entity)] for entity in wanted)
        placed = any(a is not b and related(scene.relation, a, b) for a in firsts for b in seconds)
    return SceneCheck(
        colours=_met([one.colour for one in wanted], [one.colour for one in seen]),
        shapes=_met([one.shape for one in wanted], [one.shape for one in seen]),
        bound=_met([(one.colour, one.shape) for one in wanted], [(one.colour, one.shape) for one in seen]),
        placed=placed,
        counted=len(seen) == len(wanted),
        problem=unparsed(seen),
    )


def _met(wanted: Sequence[object], there: Sequence[object]) -> tuple[bool, ...]:
    """For each wanted thing whether there are as many like it as have been wanted so far."""
    return tuple(there.count(one) >= wanted[: k + 1].count(one) for k, one in enumerate(wanted))
