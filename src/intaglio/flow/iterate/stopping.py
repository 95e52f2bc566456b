"""When an iteration has come close enough: rules over the changes of its sweeps, picture by picture."""

from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

Rule = Literal["change", "estimate", "mean-change", "relative", "exact"]
RATIOS = 3
"""Last ratios of changes that the estimate takes the worst of."""
DECAYING = 0.9
"""Above this ratio changes are not yet taken to decay."""
STALLED = 3
"""Sweeps without a fall of a tenth after which coarse weights can do no better."""


@dataclass
class Stopping:
    """Which pictures are done, from the change of every sweep.

    With delta the change of a sweep and max over all numbers of a picture:

    - change: max |delta| < tolerance (arXiv 2505.24791, with 0.5);
    - estimate: max |delta| and the estimated error q / (1 - q) max |delta|, both in root mean squares of the block's
      output, < tolerance; q is the worst of the last 3 ratios of changes, and at 0.9 or above nothing is done;
    - mean-change: ||delta|| / C <= tolerance (arXiv 2505.12849, with 1e-8: in practice the cap on sweeps decides);
    - relative: mean delta^2 / mean u^2 < tolerance (arXiv 2506.06276, with 0.001 to 0.005);
    - exact: nothing changed at all.

    A small change is no small error: it can be that a chain is slow. Only `inverse.Inverse.residual` proves.
    """

    rule: Rule
    tolerance: float
    scale: Float[Tensor, "n"]
    """Root mean square of the block's output, by picture."""
    changes: list[Float[Tensor, "n"]] = field(default_factory=list)

    @classmethod
    def of(cls, rule: Rule, tolerance: float, v: Float[Tensor, "n t c"]) -> "Stopping":
        """For a block's output."""
        return cls(rule, tolerance, v.square().mean((1, 2)).sqrt().clamp(min=1e-6))

    def done(
        self, u: Float[Tensor, "n w c"], delta: Float[Tensor, "n w c"], unsettled: Bool[Tensor, "n w"] | None
    ) -> Bool[Tensor, "n"]:
        """Which pictures may stop after this sweep; one with a patch that was held back never may."""
        change = delta.abs().amax((1, 2))
        if unsettled is not None:
            change = change.masked_fill(unsettled.any(1), torch.inf)
        self.changes.append(change)
        match self.rule:
            case "change":
                return change < self.tolerance
            case "mean-change":
                return (delta.square().sum((1, 2)).sqrt() / u.shape[2] <= self.tolerance) & change.isfinite()
            case "relative":
                share = delta.square().mean((1, 2)) / u.square().mean((1, 2)).clamp(min=1e-12)
                return (share < self.tolerance) & change.isfinite()
            case "exact":
                return change == 0
        return (change / self.scale < self.tolerance) & (self.estimate() / self.scale < self.tolerance)

    def estimate(self) -> Float[Tensor, "n"]:
        """The error that the decay of the changes speaks for; infinite until they decay."""
        recent = self.changes[-RATIOS - 1 :]
        if len(recent) < 2:
            return torch.where(recent[-1] == 0, 0.0, torch.inf)
        pairs = zip(recent[1:], recent, strict=False)
        q = torch.stack([new / old.clamp(min=1e-30) for new, old in pairs]).amax(0)
        error = torch.where(q < DECAYING, q / (1 - q).clamp(min=1e-6) * recent[-1], torch.inf)
        return torch.where(recent[-1] == 0, 0.0, error)

    def stalled(self) -> bool:
        """Whether no picture's change fell by a tenth in the last sweeps: the limit of coarse weights."""
        if len(self.changes) <= STALLED:
            return False
        best = torch.stack(self.changes[-STALLED:]).amin(0)
        return bool((best > 0.9 * self.changes[-STALLED - 1]).all()) and bool(best.isfinite().all())

    def keep(self, rows: Int64[Tensor, "m"]) -> None:
        """Go on with these pictures only."""
        self.scale = self.scale[rows]
        self.changes = [change[rows] for change in self.changes[-RATIOS - STALLED :]]
