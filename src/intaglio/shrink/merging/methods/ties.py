"""TIES-Merging: trim updates, elect signs, and average those that agree."""

from collections.abc import Sequence
from dataclasses import dataclass

from intaglio.denoising.picture_samples import PictureSamples
from intaglio.errors import require
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.run import Run
from intaglio.shrink.merging.family import Merger
from intaglio.shrink.merging.mean_weights import check_scale
from intaglio.shrink.merging.merged import Merged, merged_model
from intaglio.shrink.merging.sign_election import merged_by_sign


@dataclass(frozen=True, kw_only=True)
class Ties(Merger):
    """TIES-Merging: the mean of the greatest updates whose signs agree with the sum of all models'.

    Of each model's update delta_k = theta_k - theta_b, the share `density` of greatest magnitude over the whole model
    is kept, exactly so many numbers; at each weight the sign of sum_k delta_k is elected, and theta = theta_b + lambda
    times the mean of the delta_k that are not 0 and have that sign. A sum of 0 takes the sign that most sums over all
    weights have; where there is none, the base's weight stays.

    Source: Yadav et al. 2023, arXiv 2306.01708, algorithm 1; sums of 0 as in its code, but for the last case, which
    takes the negative there.
    """

    needs_base = True

    density: float = 0.2
    """Share of each model's update that is kept, above 0 and at most 1."""
    scale: float = 1.0
    """lambda, above 0 and at most 10."""

    def __post_init__(self) -> None:
        require(0 < self.density <= 1, f"density must be above 0 and at most 1, not {self.density}")
        check_scale(self.scale)

    @property
    def sums(self) -> int:
        return 45

    def __call__(
        self,
        models: Sequence[LatentDiffusion],
        base: LatentDiffusion | None = None,
        *,
        judged: PictureSamples | None = None,
        run: Run = Run.none(),
    ) -> Merged:
        start = self.checked_base(models, base)
        model = merged_by_sign(models, start, self.density, self.scale, run)
        return merged_model(self, model, models, base, [{} for _ in models])
