"""Direct sampling: draw from the suspect alone, and return what it draws again and again."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from intaglio.extract.family import Extractor
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.sampling.guides.classifier_free import ClassifierFree


@dataclass(frozen=True, kw_only=True)
class Direct(Extractor):
    """Direct sampling: draw from the suspect without any guidance.

    Every step takes out eps_suspect(x, t, prompt) [n, c, h, w]. One prediction a step, half of what a guided method
    costs; the baseline "Direct Text2img + Clustering" of arXiv 2410.03039. That many samples of one prompt fall into
    cliques where a picture is memorised is the finding of arXiv 2301.13188.

    Source: arXiv 2301.13188.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "drawn from the suspect without guidance"

    def guide(self, base: LatentDiffusion, *, prompted: bool) -> ClassifierFree:
        """None: a scale of 1 is the model's own prediction."""
        return ClassifierFree(1.0)
