"""Soups: means of weights (model soups)."""

from collections.abc import Sequence
from dataclasses import dataclass

from intaglio.denoising.picture_samples import PictureSamples
from intaglio.errors import BadInput, require
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.run import Run
from intaglio.shrink.merging.family import Merger
from intaglio.shrink.merging.greedy_choice import greedy_choice
from intaglio.shrink.merging.mean_weights import mean_rule
from intaglio.shrink.merging.merged import Merged, merged_model
from intaglio.shrink.merging.merged_weights import merged_weights


@dataclass(frozen=True, kw_only=True)
class Soup(Merger):
    """Model soup: the mean of the weights of several fine-tunes, of all or of a greedy choice.

    The uniform soup is (1/n) sum_k theta_k. The greedy one orders the models by their own denoising loss on held-out
    pictures, begins with the best, and adds each further one where the loss of the mean falls strictly. Where the loss
    is convex between the models, the mean's is no higher than the mean of theirs.

    Source: Wortsman et al. 2022, arXiv 2203.05482, recipe 1; strictly, as in its code.
    """

    greedy: bool = False
    """Choose the models by the denoising loss of held-out pictures; they must be given."""
    micro_batch: int = 8
    """Samples at once while models are judged, at least 1; it changes losses by rounding alone."""

    def __post_init__(self) -> None:
        require(self.micro_batch >= 1, f"micro_batch must be at least 1, not {self.micro_batch}")

    @property
    def needs_pictures(self) -> bool:
        return self.greedy

    def __call__(
        self,
        models: Sequence[LatentDiffusion],
        base: LatentDiffusion | None = None,
        *,
        judged: PictureSamples | None = None,
        run: Run = Run.none(),
    ) -> Merged:
        self.check(models, base)
        chosen, told = tuple(range(len(models))), [{"share": 1 / len(models)} for _ in models]
        if self.greedy:
            if judged is None:
                raise BadInput("a greedy soup chooses by pictures that are held out; give some, or leave greedy out")
            found = greedy_choice(models, judged, self.micro_batch, run)
            chosen = tuple(sorted(found.taken))
            told = [
                {"share": (k in chosen) / len(chosen), "choosing_loss": found.alone[k], "loss_added": found.together[k]}
                for k in range(len(models))
            ]
        return merged_model(self, merged_weights(models, mean_rule(chosen), run), models, base, told)
