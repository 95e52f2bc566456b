"""ig-patching: first-order effects by gradients averaged along each branch's way between the prompts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.errors import require
from intaglio.explain.components.family import ComponentPatcher
from intaglio.explain.components.patch_points import PatchPoint


@dataclass(frozen=True, kw_only=True)
class IntegratedPatching(ComponentPatcher):
    """Integrated gradients of components: each change times the mean gradient along it.

    sum over places of (a_clean - a_corrupted) mean_k dm/da at a_corrupted + (k + 1/2) / K (a_clean - a_corrupted), for
    K points of one branch at a time, all others as in the corrupted run. The effects of a branch's channels add up to
    the exact effect of the branch as a whole, as K grows.

    Source: Sundararajan et al., arXiv 1703.01365; of activations, Marks et al., arXiv 2403.19647.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "the component's change times the mean gradient along it"
    by_branch: ClassVar[bool] = True

    points: int = 10
    """Points K of the way, at least 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.points >= 1, f"points must be at least 1, not {self.points}")

    def effects(self, point: PatchPoint, chosen: Sequence[int]) -> list[Float[Tensor, "_"]]:
        """See the family."""
        shares = (torch.arange(self.points) + 0.5) / self.points
        return [point.shares(k, point.slopes_between(k, shares, self.batch)) for k in chosen]

    def passes(self, components: Sequence[int]) -> int:
        """The point's two, and for each branch K forward and K back."""
        return 2 + 2 * self.points * len(components)
