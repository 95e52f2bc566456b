"""Frontier decoding: windows that move on as soon as their first patches are final."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from intaglio.flow.block.inverse import BlockInverse
from intaglio.flow.family import Decoder
from intaglio.flow.iterate.stopping import Stopping
from intaglio.flow.iterate.sweeps import Guess, coarse_sweeps, initial_guess, sweep
from intaglio.flow.iterate.window import UNMEASURED, advance_frontier
from intaglio.flow.results import BlockCallback, BlockReport
from intaglio.flow.tiers import TierName


@dataclass(frozen=True, kw_only=True)
class FrontierDecoder(Decoder):
    """Frontier decoding: sweep a window of patches, keep the prefix that has converged.

    With patches 0..c-1 of a block in the cache and patch c final, a pass maps patches c..c+w-1 [n, w, C] to new values
    of c+1..c+w. Those at the head that did not change, to the tolerance, in any picture, had keys and values that are
    final too: c moves past them and at least one more, and the window goes on from there. So every pass makes a patch
    final: T - 1 passes at most, no keys of an iterate that was thrown away, no pass only to store them. A window of 1
    is sequential decoding, a window of T Jacobi sweeps that do not repeat what is known.

    Source: this project; the fixed point is that of arXiv 2505.24791, whose block-wise choice between sequential and
    Jacobi it replaces by the window.
    """

    tolerance: float = 1e-3
    """Largest change of a number, in the units of the block, at which a patch is final; 0: not the last bit changed."""
    window: int | None = None
    """Patches a pass; None begins with 8, widens after two full windows and narrows where little is kept."""
    warm_sweeps: int = 0
    """Sweeps over all patches first, for a better guess."""
    coarse_sweeps: int = 0
    """Before those, sweeps in bfloat16, which cost half or less."""
    guess: Guess = "output"
    """What to start from: the block's output, or zeros."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.tolerance < float("inf"):
            raise ValueError(f"tolerance must not be negative, and finite: {self.tolerance}")
        if self.window is not None and self.window < 1:
            raise ValueError(f"window must be at least 1, or None: {self.window}")
        for name in ("warm_sweeps", "coarse_sweeps"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative: {getattr(self, name)}")

    @classmethod
    def candidates(cls, tier: TierName) -> Sequence[Sequence[Decoder]]:
        """See `Decoder.candidates`."""
        return [[cls(tolerance=UNMEASURED[tier])]]

    def decode_block(
        self, inverse: BlockInverse, v: Float[Tensor, "n t c"], report: BlockReport, watch: BlockCallback
    ) -> Float[Tensor, "n t c"]:
        """See `Decoder.decode_block`."""
        u = initial_guess(v, self.guess)
        coarse_sweeps(inverse, v, u, self.coarse_sweeps, report, watch)
        if self.warm_sweeps:
            never = Stopping.of("exact", 0.0, v)
            sweep(inverse, v, u, never, min(self.warm_sweeps, inverse.tokens - 1), report, watch)
        advance_frontier(inverse, v, u, self.tolerance, self.window, report, watch)
        return u
