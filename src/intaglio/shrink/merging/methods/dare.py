"""DARE: updates dropped at random and rescaled before they are merged."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from intaglio.denoising.picture_samples import PictureSamples
from intaglio.errors import require
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.run import Run
from intaglio.shrink.merging.drop_masks import kept_mask
from intaglio.shrink.merging.family import Merger
from intaglio.shrink.merging.mean_weights import check_scale, check_weights, equal_or_given
from intaglio.shrink.merging.merged import Merged, merged_model
from intaglio.shrink.merging.merged_weights import Rule, merged_weights
from intaglio.shrink.merging.sign_election import Thin, merged_by_sign
from intaglio.shrink.merging.weight_places import Place

DENSITY = 0.2
"""Share that is kept by the trimming where none is given, as in `ties`."""


@dataclass(frozen=True, kw_only=True)
class Dare(Merger):
    """DARE: each number of an update is dropped with a probability, and the rest is rescaled.

    delta_k = m_k (theta_k - theta_b) / (1 - p), where each m_k is 0 with probability p and else 1, independently for
    every weight and model, so that its expectation is the update itself. The form `linear` gives theta_b + lambda sum_k
    w_k delta_k, the form `ties` trims, elects signs and averages as `ties` does. The masks are a function of the seed,
    the model's content and the weight's name, whatever the order of the models.

    Source: Yu et al. 2023, arXiv 2311.03099, drop and rescale.
    """

    needs_base = True
    least: ClassVar[int] = 1

    drop: float = 0.9
    """p, the probability of being dropped, at least 0 and below 1."""
    form: Literal["linear", "ties"] = "linear"
    """The merging of the thinned updates: their weighed sum, or the mean of those that agree in sign."""
    weights: tuple[float, ...] = ()
    """w_k of each model in their order, finite and of any sign, for the form linear; none takes 1/n each."""
    density: float | None = None
    """Share of each thinned update that is kept, above 0 and at most 1, for the form ties; none takes 0.2."""
    scale: float = 1.0
    """lambda, above 0 and at most 10."""
    seed: int = 0
    """Seed of the masks."""

    def __post_init__(self) -> None:
        require(0 <= self.drop < 1, f"drop must be at least 0 and below 1, not {self.drop}")
        require(self.form in ("linear", "ties"), f"form must be linear or ties, not {self.form!r}")
        require(self.form == "linear" or not self.weights, "weights are of the form linear; leave them out")
        require(self.form == "ties" or self.density is None, "density is of the form ties; leave it out")
        density = self.density
        require(density is None or 0 < density <= 1, f"density must be above 0 and at most 1, not {density}")
        check_weights(self.weights)
        check_scale(self.scale)

    @property
    def sums(self) -> int:
        return 60 if self.form == "ties" else 30

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
        prints = [model.weights_fingerprint for model in models]

        def thin(k: int, place: Place, update: Tensor) -> Tensor:
            kept = kept_mask(update.shape, self.drop, self.seed, prints[k], str(place)).to(update.device)
            return update * kept / (1 - self.drop)

        if self.form == "ties":
            density = DENSITY if self.density is None else self.density
            merged, told = merged_by_sign(models, start, density, self.scale, run, thin), [{} for _ in models]
        else:
            factors = [self.scale * weight for weight in equal_or_given(self.weights, len(models))]
            merged, told = merged_weights([*models, start], _thinned_sum(thin, factors), run), _shares(factors)
        return merged_model(self, merged, models, base, told)


def _thinned_sum(thin: Thin, factors: Sequence[float]) -> Rule:
    """The rule of the form linear."""

    def rule(place: Place, each: list[Tensor]) -> Tensor:
        *weights, start = each
        return start + sum(
            (factors[k] * thin(k, place, weight - start) for k, weight in enumerate(weights)), torch.zeros_like(start)
        )

    return rule


def _shares(factors: Sequence[float]) -> list[dict[str, float]]:
    return [{"share": factor} for factor in factors]
