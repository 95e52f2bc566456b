"""Jacobi decoding: whole blocks by fixed-point sweeps."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from intaglio.flow.block.inverse import BlockInverse
from intaglio.flow.cost import BlockPasses, sweeps
from intaglio.flow.family import Decoder
from intaglio.flow.iterate.stopping import TOLERANCES, Rule, Stopping
from intaglio.flow.iterate.sweeps import Guess, coarse_sweeps, initial_guess, sweep
from intaglio.flow.results import BlockCallback, BlockReport
from intaglio.flow.tiers import TierName
from intaglio.models.flow.tarflow import TarFlow


@dataclass(frozen=True, kw_only=True)
class JacobiDecoder(Decoder):
    """Jacobi decoding: every block by fixed-point sweeps over all patches at once.

    Sweeps u <- F(u) go on until u changes no more. F is causal, so its Jacobian is strictly lower triangular and
    nilpotent: after t sweeps patches 0..t are exact, and T - 1 sweeps always suffice. Every picture [T, C] stops by its
    own rule, whatever is decoded beside it.

    Source: arXiv 2002.03629, 2505.24791.
    """

    tau: float = 1e-3
    """Tolerance of the rule, above 0; 0 with a rule that needs none or with max_sweeps."""
    rule: Rule = "change"
    """change: largest change below tau (SeJD, with 0.5); estimate: also the estimated error, both in root mean squares
    of the block's output; mean-change (GS-Jacobi); relative (STARFlow); exact: no number changed."""
    guess: Guess = "output"
    """What the sweeps start from: the block's output, or zeros."""
    max_sweeps: int | None = None
    """Most sweeps a block, at least 1; None: T - 1, which are always enough."""
    coarse_sweeps: int = 0
    """Sweeps in bfloat16 first, which cost half or less; the rule judges the later ones alone."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.coarse_sweeps < 0:
            raise ValueError(f"coarse_sweeps must not be negative: {self.coarse_sweeps}")
        if not 0 <= self.tau < float("inf"):
            raise ValueError(f"tau must not be negative, and finite: {self.tau}")
        if self.tau == 0 and self.rule != "exact" and self.max_sweeps is None:
            raise ValueError("tau 0 never stops before the last sweep; give max_sweeps, or the rule exact")
        if self.max_sweeps is not None and self.max_sweeps < 1:
            raise ValueError(f"max_sweeps must be at least 1, or None: {self.max_sweeps}")

    @classmethod
    def candidates(cls, tier: TierName) -> Sequence[Sequence[Decoder]]:
        """See `Decoder.candidates`."""
        return [[cls(tau=tau)] for tau in TOLERANCES]

    @classmethod
    def published(cls) -> Decoder:
        """See `Decoder.published`: SeJD's uniform Jacobi."""
        return cls(tau=0.5, guess="zeros")

    def passes(self, model: TarFlow, block: int) -> tuple[BlockPasses, ...]:
        """See `Decoder.passes`: sweeps end by their rule, before the most that is allowed."""
        tokens = model.config.tokens
        return (*sweeps(tokens, self.coarse_sweeps), *sweeps(tokens, self.max_sweeps))

    def decode_block(
        self, inverse: BlockInverse, v: Float[Tensor, "n t c"], report: BlockReport, watch: BlockCallback
    ) -> Float[Tensor, "n t c"]:
        """See `Decoder.decode_block`."""
        u = initial_guess(v, self.guess)
        cap = min(self.max_sweeps or inverse.tokens - 1, inverse.tokens - 1)
        coarse_sweeps(inverse, v, u, self.coarse_sweeps, report, watch)
        sweep(inverse, v, u, Stopping.of(self.rule, self.tau, v), cap, report, watch)
        return u
