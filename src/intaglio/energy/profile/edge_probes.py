"""Sizes at which a profile begins: corners, the centre, and pairs that straddle the edges of tiles."""

from collections.abc import Iterator, Sequence
from itertools import product

from intaglio.energy.layers.layer import LayerFamily

EDGES = (64, 96, 72, 128, 32, 16, 24, 8)
"""Last sizes before a step of tiles, the most telling first: 64 and 96 tell tiles of 32 from those of 64."""


def corners(low: Sequence[int], high: Sequence[int]) -> list[tuple[int, ...]]:
    """All combinations of the bounds, and the logarithmic centre."""
    found = dict.fromkeys(product(*(dict.fromkeys(pair) for pair in zip(low, high, strict=True))))
    return list(dict.fromkeys([*found, centre(low, high)]))


def centre(low: Sequence[int], high: Sequence[int]) -> tuple[int, ...]:
    """The geometric mean of the bounds, in whole numbers."""
    return tuple(round((a * b) ** 0.5) for a, b in zip(low, high, strict=True))


def edge_pairs(family: LayerFamily, low: Sequence[int], high: Sequence[int], each: int = 2) -> list[tuple[int, ...]]:
    """Pairs of sizes on both sides of an edge, for every tiled size, the other sizes at the centre.

    `each`: edges for each tiled size, 0 or more.
    """
    return [
        sizes for k, name in enumerate(family.free) if name in family.of_kind.tiled for sizes in _at(k, low, high, each)
    ]


def _at(k: int, low: Sequence[int], high: Sequence[int], each: int) -> Iterator[tuple[int, ...]]:
    middle = centre(low, high)
    inside = [edge for edge in EDGES if low[k] <= edge < high[k]]
    for edge in inside[:each]:
        for size in (edge, edge + 1):
            yield (*middle[:k], size, *middle[k + 1 :])
