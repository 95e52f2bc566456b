"""Scenes as data, and their captions by one grammar, such as `a red circle left of a blue square`."""

import re
from dataclasses import dataclass

from intaglio.errors import BadInput

COLOURS = ("red", "yellow", "green", "blue", "purple", "black")
SHAPES = ("circle", "square", "triangle", "cross")
RELATIONS = ("left of", "right of", "above", "below", "and")
"""Of the first entity to the second; `and` says nothing of their places."""

_ENTITY = rf"(?:an?\s+)?({'|'.join(COLOURS)})\s+({'|'.join(SHAPES)})"
_RELATION = "|".join(relation.replace(" ", r"\s+") for relation in RELATIONS)
_CAPTION = re.compile(rf"\s*{_ENTITY}(?:\s+({_RELATION})\s+{_ENTITY})?\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Entity:
    """A shape of one colour."""

    colour: str
    """One of `COLOURS`."""
    shape: str
    """One of `SHAPES`."""

    def __str__(self) -> str:
        return f"a {self.colour} {self.shape}"


@dataclass(frozen=True)
class Scene:
    """One entity, or two in a relation."""

    entities: tuple[Entity, ...]
    relation: str | None = None
    """One of `RELATIONS`, of the first entity to the second; None for one entity."""

    @property
    def caption(self) -> str:
        """The words of the scene."""
        return f" {self.relation} ".join(map(str, self.entities))


def scene_of(caption: str) -> Scene:
    """The scene that a caption names; letters of either case, and articles may be missing.

    Raises `BadInput` for words outside the grammar.
    """
    found = _CAPTION.fullmatch(caption)
    if found is None:
        raise BadInput(
            f"{caption!r} is no caption of a scene; write one like 'a red circle' or 'a red circle left of a blue "
            f"square', with colours {', '.join(COLOURS)}, shapes {', '.join(SHAPES)} and relations "
            f"{', '.join(RELATIONS)}"
        )
    colour, shape, relation, *second = (part and " ".join(part.lower().split()) for part in found.groups())
    first = Entity(colour, shape)
    return Scene((first,)) if relation is None else Scene((first, Entity(*second)), relation)
