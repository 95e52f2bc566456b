"""Stopping rules of fixed-point sweeps, from their changes, picture by picture."""

from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

Rule = Literal["change", "estimate", "mean-change", "relative", "exact"]
TOLERANCES = (0.5, 0.2, 0.1, 0.05, 0.03, 0.02, 0.01, 0.005, 0.002, 1e-3, 5e-4, 2e-4, 1e-4, 5e-5, 2e-5, 1e-5)
"""Tolerances of the rule change to choose from, loose to tight."""
RATIOS = 3
"""Number of last ratios of changes whose largest the estimate takes for the rate of convergence."""
DECAYING = 0.9
"""Ratio of successive changes above which they are not taken to decay."""
STALLED_SWEEPS = 3
"""Sweeps without a fall of a tenth after which coarse weights can do no better."""


@dataclass
class Stopping:
    """A stopping rule with the changes of one batch's sweeps so far.

    With delta the change of a sweep and max over all numbers of a picture:

    - change: max |delta| < tolerance (arXiv 2505.24791, with 0.5);
    - estimate: max |delta| and the estimated error q / (1 - q) max |delta|, both in root mean squares of the block's
      output, < tolerance; q is the largest of the last 3 ratios of changes, and at 0.9 or above no picture is done;
    - mean-change: ||delta|| / C <= tolerance (arXiv 2505.12849, with 1e-8: in practice the cap on sweeps decides);
    - relative: mean delta^2 / mean u^2 < tolerance (arXiv 2506.06276, with 0.001 to 0.005);
    - exact: no number changed.

    A small change is no small error: convergence may be slow. Only `BlockInverse.residual` proves.
    """

    rule: Rule
    tolerance: float
    scale: Float[Tensor, "n"]
    """Root mean square of the block's output, by picture."""
    changes: list[Float[Tensor, "n"]] = field(default_factory=list)
    """max |delta| of each sweep; infinite for a picture with a patch that was clamped."""

    @classmethod
    def of(cls, rule: Rule, tolerance: float, v: Float[Tensor, "n t c"]) -> "Stopping":
        """The rule for a block with this output, before any sweep."""
        return cls(rule, tolerance, v.square().mean((1, 2)).sqrt().clamp(min=1e-6))

    def done(
        self, u: Float[Tensor, "n w c"], delta: Float[Tensor, "n w c"], clamped: Bool[Tensor, "n w"] | None
    ) -> Bool[Tensor, "n"]:
        """The pictures that may stop after this sweep; one with a patch that was clamped never may."""
        change = delta.abs().amax((1, 2))
        if clamped is not None:
            change = change.masked_fill(clamped.any(1), torch.inf)
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
        """The error estimated from the decay of the changes; infinite until they decay."""
        recent = self.changes[-RATIOS - 1 :]
        if len(recent) < 2:
            return torch.where(recent[-1] == 0, 0.0, torch.inf)
        pairs = zip(recent[1:], recent, strict=False)
        q = torch.stack([new / old.clamp(min=1e-30) for new, old in pairs]).amax(0)
        error = torch.where(q < DECAYING, q / (1 - q).clamp(min=1e-6) * recent[-1], torch.inf)
        return torch.where(recent[-1] == 0, 0.0, error)

    def stalled(self) -> bool:
        """Whether no picture's change fell by a tenth in the last sweeps: the limit of coarse weights."""
        if len(self.changes) <= STALLED_SWEEPS:
            return False
        best = torch.stack(self.changes[-STALLED_SWEEPS:]).amin(0)
        return bool((best > 0.9 * self.changes[-STALLED_SWEEPS - 1]).all()) and bool(best.isfinite().all())

    def keep(self, rows: Int64[Tensor, "m"]) -> None:
        """Drop all pictures but these."""
        self.scale = self.scale[rows]
        self.changes = [change[rows] for change in self.changes[-RATIOS - STALLED_SWEEPS :]]
