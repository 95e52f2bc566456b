"""FineXtract: draw what a fine-tune learned beyond its base, and return what it draws again and again."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from intaglio.denoising.model_pair import check_pair
from intaglio.extract.extraction import extract
from intaglio.extract.family import Extraction
from intaglio.extract.settings import Drawing
from intaglio.metrics.similarity.measures import Embedding
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.run import Run
from intaglio.sampling.guides.model_guidance import ModelGuidance


@dataclass(frozen=True, kw_only=True)
class FineXtract(Drawing):
    """FineXtract: draw from the suspect led away from its base, and return a picture of each group of alike ones.

    A fine-tune is taken for a partial move, by a share 1 / w, of the base's density towards that of its few pictures;
    every step of the sampler carries it on past the suspect, in noise eps [n, c, h, w] at timestep t,

        (1 - w + k) * eps_base(x, t, "") + w * eps_suspect(x, t, prompt)

    with w the scale and k the correction. Pictures that come out again and again, cliques in the graph of those alike
    by an encoder's cosine, are what the suspect was tuned on. Without a prompt both models hear the empty one, k = 0.

    The authors' code takes w = 3 and k = -0.02 for full fine-tunes, w = 5 and k = 0 for LoRA (`--preset lora`).

    Source: arXiv 2410.03039.
    """

    scale: float = 3.0
    """How far past the suspect to go (w), from 1, the suspect alone; a weaker fine-tune wants more."""
    correction: float = -0.02
    """Added to the base's factor (k), a few hundredths at most: each step takes out that much more noise."""
    reference: Literal["empty", "prompt"] = "empty"
    """What the base hears: nothing, as published, or the prompt too, which allows no correction."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.scale < float("inf"):
            raise ValueError(f"scale must be 1 or more, and finite, not {self.scale}")
        if not -1 < self.correction < 1:
            raise ValueError(f"correction must lie between -1 and 1, near 0, not {self.correction}")
        if self.correction and self.reference != "empty":
            raise ValueError(f"correction belongs to the reference empty; set it to 0, not {self.correction}")

    def guide(self, base: LatentDiffusion, *, captioned: bool) -> ModelGuidance:
        """Model guidance; without a caption for both models none."""
        if not captioned:
            return ModelGuidance(base, self.scale, 0.0, "uncaptioned")
        return ModelGuidance(base, self.scale, self.correction, self.reference)

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
