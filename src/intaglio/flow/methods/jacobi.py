"""Jacobi decoding: whole blocks by fixed-point sweeps."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from intaglio.flow.block.inverse import Inverse
from intaglio.flow.family import BlockReport, Decoder, Guess, Seen
from intaglio.flow.iterate.stopping import Rule, Stopping
from intaglio.flow.iterate.sweeps import coarse_sweeps, guessed, sweep


@dataclass(frozen=True, kw_only=True)
class JacobiDecoder(Decoder):
    """Jacobi decoding: every block by sweeps u <- F(u) over all T patches at once, until they change no more.

    F is causal, so its Jacobian is strictly lower triangular and nilpotent: after t sweeps patches 0..t are exact, and
    T - 1 sweeps always suffice. Every picture [T, C] stops by its own rule, whatever is decoded beside it.

    Source: arXiv 2002.03629, 2505.24791.
    """

    tau: float = 1e-3
    """Where the rule stops, above 0; 0 with a rule that needs none or with max_sweeps."""
    rule: Rule = "change"
    """change: largest change below tau (SeJD, with 0.5); estimate: also the estimated error, both in root mean squares
    of the block's output; mean-change (GS-Jacobi); relative (STARFlow); exact: nothing changed."""
    guess: Guess = "output"
    """What the sweeps start from: the block's output, or zeros."""
    max_sweeps: int | None = None
    """Stop a block after so many sweeps all the same; None: T - 1, which are always enough."""

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

    def decode_block(
        self, inverse: Inverse, v: Float[Tensor, "n t c"], place: int, report: BlockReport, watch: Seen
    ) -> Float[Tensor, "n t c"]:
        """See `Decoder.decode_block`."""
        u = guessed(v, self.guess)
        cap = min(self.max_sweeps or inverse.tokens - 1, inverse.tokens - 1)
        coarse_sweeps(inverse, v, u, self.coarse_sweeps, report, watch)
        sweep(inverse, v, u, Stopping.of(self.rule, self.tau, v), cap, report, watch)
        return u
