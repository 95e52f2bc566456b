"""Classifier-free guidance: draw from the suspect led towards its prompt, and return what it draws again and again."""

from collections.abc import Sequence
from dataclasses import dataclass

from intaglio.denoising.model_pair import check_pair
from intaglio.errors import BadInput
from intaglio.extract.extraction import extract
from intaglio.extract.family import Extraction
from intaglio.extract.settings import Drawing
from intaglio.metrics.similarity.measures import Embedding
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.run import Run
from intaglio.sampling.guides.classifier_free import ClassifierFree


@dataclass(frozen=True, kw_only=True)
class ClassifierFreeExtract(Drawing):
    """Classifier-free guidance: draw from the suspect led towards its prompt, and group as FineXtract does.

    Every step takes out, in noise eps [n, c, h, w] at timestep t, with s the scale,

        (1 - s) * eps_suspect(x, t, "") + s * eps_suspect(x, t, prompt)

    so that only what the prompt adds is carried on, where FineXtract carries on what the fine-tune added. The baseline
    "CFG + Clustering" of arXiv 2410.03039, whose authors' code takes s = 3.

    Source: arXiv 2207.12598.
    """

    scale: float = 3.0
    """How far to go towards the prompt (s); 1 is no guidance, which is `direct`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.scale < float("inf"):
            raise ValueError(f"scale must be 1 or more, and finite, not {self.scale}")

    def guide(self, base: LatentDiffusion, *, captioned: bool) -> ClassifierFree:
        """Guidance towards the prompt and away from the empty one."""
        return ClassifierFree(self.scale)

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
        """Draw, group and rank; see `Extractor`. Raises `BadInput` without a prompt, which there is no way towards."""
        if not any(prompts):
            raise BadInput("cfg leads towards a prompt and there is none; give --prompt, or use finextract or direct")
        check_pair(suspect, base)
        return extract(self, suspect, base, prompts, similarity, run, workers)
