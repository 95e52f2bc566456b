"""Linear merging: a weighed sum of updates on the base (task arithmetic)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from intaglio.denoising.picture_samples import PictureSamples
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.run import Run
from intaglio.shrink.merging.family import Merger
from intaglio.shrink.merging.mean_weights import check_scale, check_weights, equal_or_given, update_sum
from intaglio.shrink.merging.merged import Merged, merged_model
from intaglio.shrink.merging.merged_weights import merged_weights
from intaglio.shrink.merging.weight_places import Place


@dataclass(frozen=True, kw_only=True)
class LinearMerge(Merger):
    """Linear merging: the base and a weighed sum of what each model learned since.

    theta = theta_b + lambda sum_k w_k (theta_k - theta_b), for every weight. With equal weights and lambda = 1 it is
    the uniform soup, with one model and lambda = 1/2 the point halfway to the base, with a negative w_k what the k-th
    model learned is taken away.

    Source: Ilharco et al. 2022, arXiv 2212.04089, equation of section 2.
    """

    needs_base = True
    least: ClassVar[int] = 1

    weights: tuple[float, ...] = ()
    """w_k of each model in their order, finite and of any sign; none takes 1/n each."""
    scale: float = 1.0
    """lambda, above 0 and at most 10."""

    def __post_init__(self) -> None:
        check_scale(self.scale)
        check_weights(self.weights)

    def check_count(self, count: int) -> None:
        super().check_count(count)
        equal_or_given(self.weights, count)

    def __call__(
        self,
        models: Sequence[LatentDiffusion],
        base: LatentDiffusion | None = None,
        *,
        judged: PictureSamples | None = None,
        run: Run = Run.none(),
    ) -> Merged:
        start = self.checked_base(models, base)
        weights = equal_or_given(self.weights, len(models))
        factors = [self.scale * weight for weight in weights]

        def rule(place: Place, each: list[Tensor]) -> Tensor:
            return update_sum(each[:-1], each[-1], factors)

        told = [{"share": factor} for factor in factors]
        return merged_model(self, merged_weights([*models, start], rule, run), models, base, told)
