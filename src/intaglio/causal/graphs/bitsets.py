"""Sets of variables as the bits of integers, and who leads to whom as arrows are added one by one."""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool
from numpy import ndarray


def pack_rows(matrix: Bool[ndarray, "d e"]) -> list[int]:
    """Each row as one integer, in which bit j is column j."""
    rows = np.packbits(matrix, axis=1, bitorder="little")
    return [int.from_bytes(row.tobytes(), "little") for row in rows]


def unpack_rows(rows: Sequence[int], width: int) -> Bool[ndarray, "d e"]:
    """What `packed` was made of."""
    length = (width + 7) // 8
    content = b"".join(row.to_bytes(length, "little") for row in rows)
    bits = np.frombuffer(content, np.uint8).reshape(len(rows), length)
    return np.unpackbits(bits, axis=1, count=width, bitorder="little").astype(bool)


def members(bits: int) -> Iterator[int]:
    """The variables of a set, smallest first."""
    while bits:
        low = bits & -bits
        yield low.bit_length() - 1
        bits ^= low


def is_reachable(children: Sequence[int], sources: int, goal: int) -> bool:
    """Is there a directed path, of no arrow or more, from any of a set of variables to one."""
    seen = front = sources
    while front and not seen >> goal & 1:
        following = 0
        for i in members(front):
            following |= children[i]
        front = following & ~seen
        seen |= front
    return bool(seen >> goal & 1)


class Reachability:
    """Directed paths of one arrow or more among d variables, kept as arrows are added; cycles are allowed."""

    def __init__(self, d: int):
        self.below, self.above = [0] * d, [0] * d

    def is_reachable(self, first: int, second: int) -> bool:
        """Is there a directed path from one to the other."""
        return bool(self.below[first] >> second & 1)

    def add(self, tail: int, head: int) -> None:
        """Takes in one arrow, in O(d) operations on sets."""
        if self.is_reachable(tail, head):
            return
        heads, tails = self.below[head] | 1 << head, self.above[tail] | 1 << tail
        for i in members(tails):
            self.below[i] |= heads
        for j in members(heads):
            self.above[j] |= tails
