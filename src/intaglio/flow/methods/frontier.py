"""Frontier decoding: windows that move on as soon as their first patches are final."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.flow.block.inverse import Inverse, limits, step
from intaglio.flow.family import BlockReport, Decoder, Guess, Seen
from intaglio.flow.iterate.stopping import Stopping
from intaglio.flow.iterate.sweeps import coarse_sweeps, guessed, sweep

FIRST_WINDOW = 8
WIDER, NARROWER = 2, 0.25
"""Full windows in a row after which the next is twice as wide; share of a window below which it is half as wide."""


@dataclass(frozen=True, kw_only=True)
class FrontierDecoder(Decoder):
    """Frontier decoding: a window of patches is swept, and the longest prefix that came out as it went in is kept.

    With patches 0..c-1 of a block in the cache and patch c final, a pass takes patches c..c+w-1 [n, w, C] to new values
    of c+1..c+w. Those at the head that agree with what went in, to the tolerance, in every picture, had keys and values
    that are final too: c moves past them and at least one more, and the window goes on from there. So every pass
    settles a patch: T - 1 passes at most, no keys of an iterate that was thrown away, no pass only to store them. A
    window of 1 is sequential decoding, a window of T Jacobi sweeps that do not repeat what is known.

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

    def decode_block(
        self, inverse: Inverse, v: Float[Tensor, "n t c"], place: int, report: BlockReport, watch: Seen
    ) -> Float[Tensor, "n t c"]:
        """See `Decoder.decode_block`."""
        u = guessed(v, self.guess)
        self.refine(inverse, v, u, report, watch)
        return u

    def refine(
        self, inverse: Inverse, v: Float[Tensor, "n t c"], u: Float[Tensor, "n t c"], report: BlockReport, watch: Seen
    ) -> None:
        """From any finite guess `u` whose first patch is right to the answer, in place."""
        last = inverse.tokens - 1
        coarse_sweeps(inverse, v, u, self.coarse_sweeps, report, watch)
        if self.warm_sweeps:
            never = Stopping.of("exact", 0.0, v)
            sweep(inverse, v, u, never, min(self.warm_sweeps, last), report, watch)
        cache, limit = inverse.cache(), limits(v)
        at, window = 0, Window(self.window)
        while at < last:
            w = min(window.width, last - at)
            parameters = inverse.parameters(u[:, at : at + w], at, cache)
            fresh, held = step(v[:, at + 1 : at + w + 1], parameters, 1, limit, inverse.effort)
            kept = self._agreeing(fresh, u[:, at + 1 : at + w + 1], held) + 1 if w > 1 else 1
            u[:, at + 1 : at + w + 1] = fresh
            at += kept
            window.adapt(kept, w)
            report.frontier.append(at)
            watch(u, at + 1)

    def _agreeing(self, fresh: Tensor, before: Tensor, held: Tensor | None) -> int:
        """How many patches at the head of the window, but its last, came out as they went in, in every picture."""
        moved = (fresh[:, :-1] - before[:, :-1]).abs().amax(-1) > self.tolerance
        if held is not None:
            moved |= held[:, :-1]
        apart = moved.any(0).to(torch.int8)
        return int(apart.argmax()) if bool(apart.any()) else len(apart)


class Window:
    """How many patches the next pass takes: as told, or as many as the last ones proved worth it."""

    def __init__(self, told: int | None):
        self.width, self._fixed, self._full = told or FIRST_WINDOW, told is not None, 0

    def adapt(self, kept: int, of: int) -> None:
        """After a pass that settled `kept` of `of` patches."""
        if self._fixed:
            return
        self._full = self._full + 1 if kept == of else 0
        if self._full >= WIDER:
            self.width, self._full = 2 * self.width, 0
        elif kept < NARROWER * of:
            self.width = max(1, of // 2)
