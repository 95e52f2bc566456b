"""The frontier iteration: a window of patches that moves on past those at its head that have converged."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from intaglio.flow.block.inverse import BlockInverse, limits, step
from intaglio.flow.results import BlockCallback, BlockReport
from intaglio.flow.tiers import TierName

UNMEASURED: dict[TierName, float] = {"exact": 1e-4, "near": 1e-3}
"""Tolerance for a tier of error where nothing was measured of a model."""
FIRST_WIDTH = 8
"""Patches in the first window of an adaptive width."""
FULL_WINDOWS = 2
"""Windows in a row that converged whole, after which the next is twice as wide."""
NARROWING = 0.25
"""Share of a window below which, if no more of it converges, the next is half as wide."""


def advance_frontier(
    inverse: BlockInverse,
    v: Float[Tensor, "n t c"],
    u: Float[Tensor, "n t c"],
    tolerance: float,
    width: int | None,
    report: BlockReport,
    watch: BlockCallback,
) -> None:
    """Solve for all patches of `u`, in place, from any finite guess whose first patch is final.

    With patches 0..c-1 in the cache and patch c final, a pass maps patches c..c+w-1 to new values of c+1..c+w. Those
    at the head that changed by `tolerance` at most, in every picture, are final, and so is the next: c moves there.
    `width` is w, the patches a pass; None adapts it.
    """
    last, at = inverse.tokens - 1, 0
    cache, limit, window = inverse.cache(), limits(v), Window(width)
    while at < last:
        w = min(window.width, last - at)
        parameters = inverse.parameters(u[:, at : at + w], at, cache)
        fresh, clamped = step(v[:, at + 1 : at + w + 1], parameters, 1, limit, inverse.counts)
        kept = 1 + _converged(fresh, u[:, at + 1 : at + w + 1], clamped, tolerance) if w > 1 else 1
        u[:, at + 1 : at + w + 1] = fresh
        at += kept
        window.adapt(kept, w)
        report.frontier.append(at)
        watch(u, at + 1)


def _converged(
    fresh: Float[Tensor, "n w c"], before: Float[Tensor, "n w c"], clamped: Bool[Tensor, "n w"] | None, tolerance: float
) -> int:
    """The number of patches at the head of a window, but its last, that did not change in any picture."""
    changed = (fresh[:, :-1] - before[:, :-1]).abs().amax(-1) > tolerance
    if clamped is not None:
        changed |= clamped[:, :-1]
    anywhere = changed.any(0).to(torch.int8)
    return int(anywhere.argmax()) if bool(anywhere.any()) else len(anywhere)


class Window:
    """The number of patches of the next pass: fixed, or adapted to how many of the last ones converged."""

    def __init__(self, width: int | None):
        """`width`: the fixed number; None adapts it."""
        self.width, self._fixed, self._full = width or FIRST_WIDTH, width is not None, 0

    def adapt(self, kept: int, of: int) -> None:
        """After a pass in which `kept` of `of` patches became final."""
        if self._fixed:
            return
        self._full = self._full + 1 if kept == of else 0
        if self._full >= FULL_WINDOWS:
            self.width, self._full = 2 * self.width, 0
        elif kept < NARROWING * of:
            self.width = max(1, of // 2)
