"""`bounds_of`: the families of some work, with the sizes between which each is asked for."""

from collections.abc import Iterable
from dataclasses import dataclass

from intaglio.energy.layers.layer import LayerFamily, Step

FLOP_BYTES = 10.0
"""Operations that cost about as much as a byte moved, for shares of work alone."""


@dataclass(frozen=True)
class Bounds:
    """Sizes between which a family is asked for, and its rough share of the work where it has most."""

    low: tuple[int, ...]
    high: tuple[int, ...]
    share: float


def bounds_of(steps: Iterable[Step]) -> dict[LayerFamily, Bounds]:
    """The families of some work, with the smallest and largest of each size, the costliest first."""
    sizes: dict[LayerFamily, list[tuple[int, ...]]] = {}
    shares: dict[LayerFamily, float] = {}
    for step in steps:
        work: dict[LayerFamily, float] = {}
        for layer, calls in step.layers.items():
            sizes.setdefault(layer.family, []).append(layer.sizes)
            rough = layer.flops / FLOP_BYTES if layer.family.of_kind.matrix else layer.bytes
            work[layer.family] = work.get(layer.family, 0.0) + calls * rough
        total = sum(work.values()) or 1.0
        for family, own in work.items():
            shares[family] = max(shares.get(family, 0.0), own / total)
    found = {}
    for family in sorted(sizes, key=lambda one: (-shares[one], one)):
        columns = list(zip(*sizes[family], strict=True))
        low, high = (tuple(pick(column) for column in columns) for pick in (min, max))
        found[family] = Bounds(low, high, shares[family])
    return found
