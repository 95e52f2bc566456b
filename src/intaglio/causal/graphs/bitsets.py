"""Sets of variables as bits of integers, and incremental reachability in directed graphs."""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool
from numpy import ndarray


def pack_rows(matrix: Bool[ndarray, "d e"]) -> list[int]:
    """Each row as an integer whose bit j is column j."""
    rows = np.packbits(matrix, axis=1, bitorder="little")
    return [int.from_bytes(row.tobytes(), "little") for row in rows]


def unpack_rows(rows: Sequence[int], width: int) -> Bool[ndarray, "d e"]:
    """The matrix that `pack_rows` was called on."""
    length = (width + 7) // 8
    content = b"".join(row.to_bytes(length, "little") for row in rows)
    bits = np.frombuffer(content, np.uint8).reshape(len(rows), length)
    return np.unpackbits(bits, axis=1, count=width, bitorder="little").astype(bool)


def members(bits: int) -> Iterator[int]:
    """The members of a set, in rising order."""
    while bits:
        low = bits & -bits
        yield low.bit_length() - 1
        bits ^= low


def is_reachable(children: Sequence[int], sources: int, goal: int) -> bool:
    """Whether a directed path of zero arrows or more leads from any member of `sources` to `goal`."""
    seen = front = sources
    while front and not seen >> goal & 1:
        following = 0
        for i in members(front):
            following |= children[i]
        front = following & ~seen
        seen |= front
    return bool(seen >> goal & 1)


class Reachability:
    """Transitive closure of a directed graph over d variables, updated as arrows are added; cycles are allowed."""

    def __init__(self, d: int):
        self.below, self.above = [0] * d, [0] * d

    def leads_to(self, first: int, second: int) -> bool:
        """Whether a directed path of one arrow or more leads from `first` to `second`."""
        return bool(self.below[first] >> second & 1)

    def add(self, tail: int, head: int) -> None:
        """Adds one arrow, in O(d) operations on sets."""
        if self.leads_to(tail, head):
            return
        heads, tails = self.below[head] | 1 << head, self.above[tail] | 1 << tail
        for i in members(tails):
            self.below[i] |= heads
        for j in members(heads):
            self.above[j] |= tails
