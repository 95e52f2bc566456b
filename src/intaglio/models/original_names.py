"""`OriginalNames`: names of a denoiser's modules in the code that it was published with, from those of diffusers."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from intaglio.errors import BadInput


class PublishedPlace(NamedTuple):
    """The place of a module of diffusers in the published network."""

    name: str
    """Name of the published module."""
    place: int | None = None
    """Number of the member whose rows are these, from 0, in a module that joins several; None in one that does not."""
    swapped: bool = False
    """Whether the halves of the rows, shift and scale, stand the other way round there."""


@dataclass(frozen=True)
class OriginalNames:
    """A table of names; `#` stands for a number, the same in both."""

    rows: Sequence[tuple[str, str]]
    """A name of diffusers and the published one, or their beginnings up to a dot; the first that fits counts."""
    joined: Sequence[tuple[str, str, int]] = ()
    """A name of diffusers, the published module that holds its rows among others, and their place there."""
    swapped: Sequence[str] = ()
    """Names of diffusers whose halves stand the other way round."""

    def of(self, path: str, last: int | None = None) -> PublishedPlace | None:
        """The published place of a module or parameter; None for one that the table does not know.

        `last` is the number of the last block: `#last` in `swapped` stands for it.
        """
        swapped = any(_fitted(name.replace("#last", str(last)), "", path) is not None for name in self.swapped)
        rows = ((name, original, None) for name, original in self.rows)
        for name, original, place in (*self.joined, *rows):
            if (found := _fitted(name, original, path)) is not None:
                return PublishedPlace(found, place, swapped)
        return None

    def places(self, paths: Iterable[str]) -> dict[str, PublishedPlace]:
        """The published places of those of the paths that the table knows."""
        known = list(paths)
        numbers = [int(found[1]) for path in known if (found := re.match(r"transformer_blocks\.(\d+)\.", path))]
        last = max(numbers, default=None)
        return {path: place for path in known if (place := self.of(path, last)) is not None}


def joined_by(places: dict[str, PublishedPlace]) -> dict[str, tuple[str, ...]]:
    """The members of each published module that joins several, in the order of their rows."""
    found: dict[str, dict[int, str]] = {}
    for path, one in places.items():
        if one.place is not None:
            found.setdefault(one.name, {})[one.place] = path
    return {name: tuple(members[place] for place in sorted(members)) for name, members in found.items()}


def attention_rows(block: str, streams: Sequence[tuple[str, str]]) -> list[tuple[str, str, int]]:
    """Rows of `joined` for a block's queries, keys and values, by diffusers' names with `*` for q, k, v."""
    return [
        (f"{block}.{name.replace('*', letter)}", original, place)
        for name, original in streams
        for place, letter in enumerate("qkv")
    ]


def blocks_in(names: Iterable[str], kind: str) -> int:
    """Blocks of a kind, by the highest number after their name."""
    return 1 + max((int(found[1]) for name in names if (found := re.match(rf"{kind}\.(\d+)\.", name))), default=-1)


def first_of(shapes: Mapping[str, tuple[int, ...]], name: str, dimensions: int = 2) -> tuple[int, ...]:
    """The shape of a weight that sizes are read from; raises `BadInput` where there is none of so many dimensions."""
    shape = shapes.get(name, ())
    if len(shape) != dimensions:
        raise BadInput(f"the file's {name} is missing, or has {len(shape)} dimensions; export it again")
    return shape


def _fitted(name: str, original: str, path: str) -> str | None:
    """The published name of a path that is a name of the table, or goes on from one after a dot; None for others."""
    found = re.match(re.escape(name).replace(r"\#", r"(\d+)") + r"(?P<rest>\..*)?$", path)
    if found is None:
        return None
    for number in found.groups()[:-1]:
        original = original.replace("#", number, 1)
    return original + (found["rest"] or "")
