"""Direct sampling: draw from the suspect alone, and return what it draws again and again."""

from collections.abc import Sequence
from dataclasses import dataclass

from intaglio.denoising.model_pair import check_pair
from intaglio.extract.extraction import extract
from intaglio.extract.family import Extraction
from intaglio.extract.settings import Drawing
from intaglio.metrics.similarity.measures import Embedding
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.run import Run
from intaglio.sampling.guides.classifier_free import ClassifierFree


@dataclass(frozen=True, kw_only=True)
class Direct(Drawing):
    """Direct sampling: draw from the suspect without any guidance, and group the pictures as FineXtract does.

    Every step takes out eps_suspect(x, t, prompt) [n, c, h, w]. One prediction a step, half of what a guided method
    costs; the baseline "Direct Text2img + Clustering" of arXiv 2410.03039. That many samples of one prompt fall into
    cliques where a picture is memorised is the finding of arXiv 2301.13188.

    Source: arXiv 2301.13188.
    """

    def guide(self, base: LatentDiffusion, *, captioned: bool) -> ClassifierFree:
        """None: a scale of 1 is the model's own prediction."""
        return ClassifierFree(1.0)

    def __call__(
        self,
        suspect: LatentDiffusion,
        base: LatentDiffusion,
        *,
        prompts: Sequence[str] = (),
        similarity: Embedding,
        run: Run = Run.none(),
        workers: int = 1,
    ) -> Extraction:
        """Draw, group and rank; see `Extractor`."""
        check_pair(suspect, base)
        return extract(self, suspect, base, prompts, similarity, run, workers)
