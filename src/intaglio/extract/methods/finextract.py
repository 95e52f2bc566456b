"""FineXtract: draw what a fine-tune learned beyond its base, and return what it draws again and again."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from intaglio.extract.family import Extractor
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.sampling.guides.model_guidance import ModelGuidance


@dataclass(frozen=True, kw_only=True)
class FineXtract(Extractor):
    """FineXtract: draw from the suspect led away from its base.

    A fine-tune is taken for a partial move, by a share 1 / w, of the base's density towards that of its few pictures;
    every step of the sampler carries it on past the suspect, in noise eps [n, c, h, w] at timestep t,

        (1 - w + k) * eps_base(x, t, "") + w * eps_suspect(x, t, prompt)

    with w the scale and k the correction. Pictures that come out again and again, cliques in the graph of those alike
    by an encoder's cosine, are what the suspect was tuned on: a picture of each is returned. Without a prompt both
    models are given the empty one, and k = 0.

    The authors' code takes w = 3 and k = -0.02 for full fine-tunes, w = 5 and k = 0 for LoRA (`--preset lora`).

    Source: arXiv 2410.03039.
    """

    reading: ClassVar[str] = "drawn from the suspect, led away from its base (FineXtract)"

    scale: float = 3.0
    """How far past the suspect to go (w), from 1, the suspect alone; a weaker fine-tune wants more."""
    correction: float = -0.02
    """Added to the base's factor (k), a few hundredths at most: each step takes out that much more noise."""
    reference: Literal["empty", "prompt"] = "empty"
    """The prompt that the base is given: the empty one, as published, or the suspect's, which allows no correction."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.scale < float("inf"):
            raise ValueError(f"scale must be 1 or more, and finite, not {self.scale}")
        if not -1 < self.correction < 1:
            raise ValueError(f"correction must lie between -1 and 1, near 0, not {self.correction}")
        if self.correction and self.reference != "empty":
            raise ValueError(f"correction belongs to the reference empty; set it to 0, not {self.correction}")

    def guide(self, base: LatentDiffusion, *, prompted: bool) -> ModelGuidance:
        """Model guidance, with no prompt for either model where none is known."""
        if not prompted:
            return ModelGuidance(base, self.scale, 0.0, "uncaptioned")
        return ModelGuidance(base, self.scale, self.correction, self.reference)
