"""GS-Jacobi decoding: segments one after the other, each by a few sweeps."""

import itertools
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from intaglio.flow.block.inverse import Inverse
from intaglio.flow.family import BlockReport, Decoder, Guess, Seen, by_index
from intaglio.flow.iterate.stopping import Stopping
from intaglio.flow.iterate.sweeps import guessed, sweep, sweep_segment
from intaglio.flow.methods.sequential import one_by_one


@dataclass(frozen=True, kw_only=True)
class GSJacobiDecoder(Decoder):
    """GS-Jacobi: hard blocks in segments, Gauss-Seidel from one to the next and Jacobi within, others by a few sweeps.

    The T - 1 patches that follow the first are cut into contiguous segments that differ by one patch at most; each is
    swept up to a cap, or until ||delta|| / C of every picture [T, C] is at most epsilon. Which blocks are hard is
    found offline (`intaglio.flow.calibrate.ranking`); the cap, not epsilon, ends nearly all of them.

    The published code keeps a segment's keys and values of the sweep before the last (`stale`), clamps all patches to
    [-3, 3], which changes the answer, and drops patches where the segments do not divide T; only the first is kept,
    as a choice. Source: arXiv 2505.12849.
    """

    hard_blocks: tuple[int, ...] = (-1,)
    """Blocks in segments, by index 0..K-1, or from the end: -1 is decoded first."""
    segments: tuple[int, ...] = (8,)
    """Segments of each hard block, in the order of hard_blocks, or one number for all: 0, or as many as there are
    patches, goes patch by patch; 1 sweeps the block as one."""
    sweeps: tuple[int, ...] = (32,)
    """Most sweeps a segment, likewise; at least 1."""
    other_sweeps: int = 10
    """Most sweeps of each other block."""
    guess_zeros: tuple[int, ...] = ()
    """Blocks that start from zeros; the others start from their own output."""
    epsilon: float = 1e-8
    """Where sweeps end before the cap."""
    stale: bool = False
    """Keep a segment's keys and values as its last sweep left them, of patches before that sweep; else one more pass
    renews them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("segments", "sweeps"):
            count = len(getattr(self, name))
            if count not in (1, len(self.hard_blocks)):
                raise ValueError(f"{name} wants one number, or one for each of {len(self.hard_blocks)} hard blocks")
        if min(self.segments, default=0) < 0:
            raise ValueError(f"segments must not be negative: {self.segments}")
        if min(self.sweeps, default=1) < 1:
            raise ValueError(f"sweeps must be at least 1: {self.sweeps}")
        if self.other_sweeps < 1:
            raise ValueError(f"other_sweeps must be at least 1, not {self.other_sweeps}")
        if self.epsilon < 0:
            raise ValueError(f"epsilon must not be negative: {self.epsilon}")

    def decode_block(
        self, inverse: Inverse, v: Float[Tensor, "n t c"], place: int, report: BlockReport, watch: Seen
    ) -> Float[Tensor, "n t c"]:
        """See `Decoder.decode_block`. Raises `BadInput` for a block that the model does not have."""
        index, blocks = inverse.block.index, inverse.block.config.num_blocks
        hard = by_index(self.hard_blocks, blocks)
        guess: Guess = "zeros" if index in by_index(self.guess_zeros, blocks) else "output"
        u = guessed(v, guess)
        if index not in hard:
            sweep(inverse, v, u, self._stopping(v), min(self.other_sweeps, inverse.tokens - 1), report, watch)
            return u
        segments, cap = (_at(numbers, hard.index(index)) for numbers in (self.segments, self.sweeps))
        if segments == 0 or segments >= inverse.tokens - 1:
            one_by_one(inverse, v, u, 0, inverse.cache(), watch)
        elif segments == 1:
            sweep(inverse, v, u, self._stopping(v), min(cap, inverse.tokens - 1), report, watch)
        else:
            self._by_segments(inverse, v, u, segments, cap, report, watch)
        return u

    def _by_segments(
        self, inverse: Inverse, v: Tensor, u: Tensor, segments: int, cap: int, report: BlockReport, watch: Seen
    ) -> None:
        cache, last = inverse.cache(), inverse.tokens - 1
        edges = [last * edge // segments for edge in range(segments + 1)]
        for start, stop in itertools.pairwise(edges):
            sweep_segment(inverse, v, u, start, stop, cache, self._stopping(v), cap, report, watch)
            if not self.stale and stop < last:
                inverse.parameters(u[:, start:stop], start, cache)

    def _stopping(self, v: Tensor) -> Stopping:
        return Stopping.of("mean-change", self.epsilon, v)


def _at(numbers: tuple[int, ...], place: int) -> int:
    return numbers[place if len(numbers) > 1 else 0]
