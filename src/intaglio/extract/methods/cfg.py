"""Classifier-free guidance: draw from the suspect led towards its prompt, and return what it draws again and again."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from intaglio.extract.family import Extractor
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.sampling.guides.classifier_free import ClassifierFree


@dataclass(frozen=True, kw_only=True)
class ClassifierFreeExtract(Extractor):
    """Classifier-free guidance: draw from the suspect led towards its prompt.

    Every step takes out, in noise eps [n, c, h, w] at timestep t, with s the scale,

        (1 - s) * eps_suspect(x, t, "") + s * eps_suspect(x, t, prompt)

    so that only what the prompt adds is carried on, where FineXtract carries on what the fine-tune added; the pictures
    are grouped as FineXtract does. The baseline
    "CFG + Clustering" of arXiv 2410.03039, whose authors' code takes s = 3.

    Source: arXiv 2207.12598.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "drawn from the suspect, led towards the prompt (classifier-free guidance)"
    needs_prompt: ClassVar[bool] = True

    scale: float = 3.0
    """How far to go towards the prompt (s); 1 is no guidance, which is `direct`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.scale < float("inf"):
            raise ValueError(f"scale must be 1 or more, and finite, not {self.scale}")

    def guide(self, base: LatentDiffusion, *, prompted: bool) -> ClassifierFree:
        """Guidance towards the prompt and away from the empty one."""
        return ClassifierFree(self.scale)
