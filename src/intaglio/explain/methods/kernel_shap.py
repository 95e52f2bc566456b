"""kernel-shap: Shapley values of regions, by a weighted regression."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.errors import require
from intaglio.explain.family import Attribution
from intaglio.explain.region_settings import RegionAttributor, own_draws
from intaglio.explain.regions import painted, region_sizes
from intaglio.explain.revealed_scores import RevealedScores
from intaglio.metrics.coalition_weights import shapley_weights
from intaglio.models.scored_network import ScoredNetwork

EXACT = 10
"""Regions up to which all sets are asked, and nothing is drawn."""


@dataclass(frozen=True, kw_only=True)
class KernelSHAP(RegionAttributor):
    """KernelSHAP: Shapley values of regions, fitted to the scores of random sets of them.

    A region's Shapley value is its mean effect over all orders in which the regions are shown. It is the slope of a
    linear regression on sets S of k of r regions with weights (r - 1) / (C(r, k) k (r - k)), and the whole and the
    empty set exactly; sets are drawn by these weights. Up to ten regions all sets are asked, and the value is exact. A
    region's value is spread over its pixels evenly. Computed by captum.

    Source: Lundberg and Lee, arXiv 1705.07874.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "showing its region raises the score, on average over what else is shown"
    library = "captum"

    samples: int = 2000
    """Random sets, at least twice the regions: the values' noise falls with their square root."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.samples >= 2 * self.regions,
            f"samples must be at least twice the regions, {2 * self.regions}, not {self.samples}",
        )

    def attributed(
        self, scored: ScoredNetwork, pixels: Float[Tensor, "3 h w"], target: int, content: str
    ) -> Attribution:
        """See the family."""
        revealed = self.revealed(scored, pixels, target)
        values = self._exact(revealed) if revealed.count <= EXACT else self._fitted(revealed, content)
        sizes = region_sizes(revealed.regions)
        return Attribution(painted(revealed.regions, values / sizes), revealed.passes, revealed.regions)

    @staticmethod
    def _exact(revealed: RevealedScores) -> Float[Tensor, "r"]:
        weights = shapley_weights(revealed.count)
        bits = torch.arange(revealed.count)
        keep = (torch.tensor(weights.coalitions)[:, None] >> bits & 1).bool()
        return (torch.from_numpy(weights.mean) @ revealed.scores(keep).double()).float()

    def _fitted(self, revealed: RevealedScores, content: str) -> Float[Tensor, "r"]:
        from captum.attr import KernelShap

        whole = torch.ones(1, revealed.count)
        with own_draws(self.seed, "kernel-shap", content):
            found = KernelShap(lambda keep: revealed.scores(keep.bool())).attribute(
                whole, baselines=0, n_samples=self.samples, perturbations_per_eval=self.batch
            )
        return found[0].float()

    def passes(self, side: int) -> int:
        """A picture a set."""
        return self.samples + 2
