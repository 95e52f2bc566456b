"""lime: a sparse linear model of the score by shown regions."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.errors import require
from intaglio.explain.family import Attribution
from intaglio.explain.region_settings import RegionAttributor, own_draws
from intaglio.explain.regions import painted, region_sizes
from intaglio.models.scored_network import ScoredNetwork


@dataclass(frozen=True, kw_only=True)
class LIME(RegionAttributor):
    """LIME: slopes of a sparse linear model of the score, near the whole picture.

    Sets of regions, each shown with probability 1/2, are weighted by exp(-d^2 / width^2), d the cosine distance of the
    set from the whole; a lasso is fitted to their scores, and its slopes are the regions' values. Computed by captum.

    Source: Ribeiro, Singh and Guestrin, arXiv 1602.04938.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "showing its region raises the score, in a linear model of it"
    library = "captum"

    samples: int = 2000
    """Random sets, at least twice the regions."""
    width: float = 0.25
    """Width of the weights' kernel, above 0: less makes sets near the whole picture count alone."""
    penalty: float = 0.01
    """Weight of the sum of absolute slopes, 0 or more: more leaves fewer regions with a value."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.samples >= 2 * self.regions,
            f"samples must be at least twice the regions, {2 * self.regions}, not {self.samples}",
        )
        require(0 < self.width < float("inf"), f"width must be above 0, and finite, not {self.width}")
        require(0 <= self.penalty < float("inf"), f"penalty must be 0 or more, and finite, not {self.penalty}")

    def attributed(
        self, scored: ScoredNetwork, pixels: Float[Tensor, "3 h w"], target: int, content: str
    ) -> Attribution:
        """See the family."""
        from captum._utils.models.linear_model import SkLearnLasso
        from captum.attr import Lime
        from captum.attr._core.lime import get_exp_kernel_similarity_function

        revealed = self.revealed(scored, pixels, target)
        near = get_exp_kernel_similarity_function("cosine", self.width)
        with own_draws(self.seed, "lime", content):
            found = Lime(
                lambda keep: revealed.scores(keep.bool()), SkLearnLasso(alpha=self.penalty), similarity_func=near
            ).attribute(
                torch.ones(1, revealed.count), baselines=0, n_samples=self.samples, perturbations_per_eval=self.batch
            )
        sizes = region_sizes(revealed.regions)
        return Attribution(painted(revealed.regions, found[0].float() / sizes), revealed.passes, revealed.regions)

    def passes(self, side: int) -> int:
        """A picture a set, at most: each different set is asked once."""
        return self.samples
