"""Selective Jacobi decoding: some blocks patch by patch, the others by sweeps."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from intaglio.flow.block.indices import block_indices
from intaglio.flow.block.inverse import BlockInverse
from intaglio.flow.cost import BlockPasses, patch_by_patch, sweeps
from intaglio.flow.family import Decoder
from intaglio.flow.iterate.one_by_one import sequential
from intaglio.flow.iterate.stopping import TOLERANCES, Stopping
from intaglio.flow.iterate.sweeps import initial_guess, sweep
from intaglio.flow.results import BlockCallback, BlockReport
from intaglio.flow.tiers import TierName
from intaglio.models.flow.tarflow import TarFlow


@dataclass(frozen=True, kw_only=True)
class SelectiveJacobiDecoder(Decoder):
    """SeJD: the first decoded block patch by patch, the others by Jacobi sweeps.

    Sweeps are over all T patches, from zeros. In the block that is decoded first, out of noise, every patch depends
    strongly on its prefix; later blocks refine, and few sweeps are enough: each stops once no number of a picture [T,
    C] changes by tau or more. At the published tau, a quarter of the range of a pixel, answers differ visibly from
    sequential ones; see the docs' benchmarks.

    Source: arXiv 2505.24791.
    """

    tau: float = 0.5
    """Largest change at which a block is done, above 0."""
    sequential_blocks: tuple[int, ...] = (-1,)
    """Blocks that go patch by patch, by index 0..K-1, or from the end: -1 is decoded first. None of them: uniform
    Jacobi."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.tau < float("inf"):
            raise ValueError(f"tau must be above 0, not {self.tau}")

    @classmethod
    def candidates(cls, tier: TierName) -> Sequence[Sequence[Decoder]]:
        """See `Decoder.candidates`."""
        return [[cls(tau=tau)] for tau in TOLERANCES]

    @classmethod
    def published(cls) -> Decoder:
        """See `Decoder.published`."""
        return cls(tau=0.5)

    def passes(self, model: TarFlow, block: int) -> tuple[BlockPasses, ...]:
        """See `Decoder.passes`: patch by patch, or sweeps that end by their rule."""
        tokens = model.config.tokens
        one_by_one = block in block_indices(self.sequential_blocks, model.config.num_blocks)
        return patch_by_patch(tokens) if one_by_one else sweeps(tokens)

    def decode_block(
        self, inverse: BlockInverse, v: Float[Tensor, "n t c"], report: BlockReport, watch: BlockCallback
    ) -> Float[Tensor, "n t c"]:
        """See `Decoder.decode_block`. Raises `BadInput` for a block that the model does not have."""
        if inverse.block.index in block_indices(self.sequential_blocks, inverse.block.config.num_blocks):
            report.method = "sequential"
            return sequential(inverse, v, watch)
        report.method = "jacobi"
        u = initial_guess(v, "zeros")
        sweep(inverse, v, u, Stopping.of("change", self.tau, v), inverse.tokens - 1, report, watch)
        return u
