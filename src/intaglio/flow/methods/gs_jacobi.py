"""GS-Jacobi decoding: segments one after the other, each by a few sweeps."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from intaglio.flow.block.indices import block_indices
from intaglio.flow.block.inverse import BlockInverse
from intaglio.flow.block.ranking import ranked
from intaglio.flow.family import Decoder
from intaglio.flow.iterate.one_by_one import one_by_one
from intaglio.flow.iterate.stopping import Stopping
from intaglio.flow.iterate.sweeps import Guess, initial_guess, sweep, sweep_segment
from intaglio.flow.results import BlockCallback, BlockReport
from intaglio.flow.tiers import TierName
from intaglio.models.flow.tarflow import TarFlow

SEGMENTS, OTHER_SWEEPS = (4, 8, 16), (2, 3, 4, 5, 6, 8, 10, 14, 20)
"""Settings to choose from: segments of the hardest block, and sweeps of each other block, loose to tight."""
UNCAPPED = 1 << 20
"""More sweeps than any segment needs."""


@dataclass(frozen=True, kw_only=True)
class GSJacobiDecoder(Decoder):
    """GS-Jacobi: hard blocks in segments one after the other, others by a few sweeps.

    Gauss-Seidel from one segment to the next, Jacobi within. The T - 1 patches that follow the first are cut into
    contiguous segments that differ by one patch at most; each is swept up to a cap, or until ||delta|| / C of every
    picture [T, C] is at most epsilon. Which blocks are hard is found offline (`fit`, by
    `intaglio.flow.block.ranking`); the cap, not epsilon, ends nearly all of them.

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
    """Most sweeps of each other block, at least 1."""
    guess_zeros: tuple[int, ...] = ()
    """Blocks that start from zeros; the others start from their own output."""
    epsilon: float = 1e-8
    """Tolerance at which sweeps end before the cap, at least 0."""
    stale: bool = False
    """Keep a segment's keys and values as its last sweep computed them, from the patches before that sweep; else one
    more pass renews them."""

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

    @classmethod
    def candidates(cls, tier: TierName) -> Sequence[Sequence[Decoder]]:
        """See `Decoder.candidates`."""
        return [[cls._capped_elsewhere(count, most) for count in SEGMENTS] for most in OTHER_SWEEPS]

    @classmethod
    def published(cls) -> Decoder:
        """See `Decoder.published`."""
        return cls._capped_elsewhere(segments=8, other_sweeps=10)

    @classmethod
    def _capped_elsewhere(cls, segments: int, other_sweeps: int) -> "GSJacobiDecoder":
        """As published: the segments of the hard blocks are swept to their end."""
        return cls(segments=(segments,), sweeps=(UNCAPPED,), other_sweeps=other_sweeps, stale=True)

    @classmethod
    def fit(cls, model: TarFlow, pictures: Float[Tensor, "n ch h w"]) -> Mapping[str, Any]:
        """See `Decoder.fit`: the hardest block of the model, by CRM on the pictures, as the one hard block."""
        return {"hard_blocks": (ranked(model, pictures)[0].block,)}

    def decode_block(
        self, inverse: BlockInverse, v: Float[Tensor, "n t c"], report: BlockReport, watch: BlockCallback
    ) -> Float[Tensor, "n t c"]:
        """See `Decoder.decode_block`. Raises `BadInput` for a block that the model does not have."""
        index, blocks = inverse.block.index, inverse.block.config.num_blocks
        hard = block_indices(self.hard_blocks, blocks)
        guess: Guess = "zeros" if index in block_indices(self.guess_zeros, blocks) else "output"
        u = initial_guess(v, guess)
        if index not in hard:
            sweep(inverse, v, u, self._stopping(v), min(self.other_sweeps, inverse.tokens - 1), report, watch)
            return u
        segments, cap = (_nth(numbers, hard.index(index)) for numbers in (self.segments, self.sweeps))
        if segments == 0 or segments >= inverse.tokens - 1:
            one_by_one(inverse, v, u, 0, inverse.cache(), watch)
        elif segments == 1:
            sweep(inverse, v, u, self._stopping(v), min(cap, inverse.tokens - 1), report, watch)
        else:
            self._by_segments(inverse, v, u, segments, cap, report, watch)
        return u

    def _by_segments(
        self,
        inverse: BlockInverse,
        v: Float[Tensor, "n t c"],
        u: Float[Tensor, "n t c"],
        segments: int,
        cap: int,
        report: BlockReport,
        watch: BlockCallback,
    ) -> None:
        cache, last = inverse.cache(), inverse.tokens - 1
        edges = [last * edge // segments for edge in range(segments + 1)]
        for start, stop in itertools.pairwise(edges):
            sweep_segment(inverse, v, u, start, stop, cache, self._stopping(v), cap, report, watch)
            if not self.stale and stop < last:
                inverse.parameters(u[:, start:stop], start, cache)

    def _stopping(self, v: Float[Tensor, "n t c"]) -> Stopping:
        return Stopping.of("mean-change", self.epsilon, v)


def _nth(numbers: tuple[int, ...], index: int) -> int:
    """The number at an index of those given one by one, or the one for all."""
    return numbers[index if len(numbers) > 1 else 0]
