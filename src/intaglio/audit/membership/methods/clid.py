"""CLiD: by how much a picture's own caption helps a model to denoise it, a membership test of text-to-image models."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.audit.membership.family import check_least, check_range
from intaglio.audit.membership.per_model import PerModelScore, PromptedModel
from intaglio.denoising.samples import fixed_samples


@dataclass(frozen=True, kw_only=True)
class CLiD(PerModelScore):
    """CLiD: by how much a picture's own caption, beside parts of it, helps to denoise it.

    A fine-tune learns which words went with which picture sooner than it learns the pictures. With L(c) the mean
    squared error at a picture's latents z0 [n, c, h, w] under words c, over fixed pairs (t, eps) that serve every
    picture and all words alike, the score of one model is the mean over four reduced captions c' of

        L(c') - L(c),    c' the first, middle and last third of the words of c, and no words at all.

    Every picture needs a caption of its own (`--own-captions`). Under one prompt for all pictures the score means
    nothing, or turns round, for members are then known without their words; so captions of which fewer than half
    differ are refused.

    The paper adds the likelihood under the caption, -L(c), with a weight that is fitted on a shadow model; here the
    verdict combines signals on the controls' scale: `--signals score loss-gap`. It reduces captions by the importance
    of their words, or by thirds, and calls the two alike. The paper looks at the suspect alone.

    Source: arXiv 2405.14800 (NeurIPS 2024), equations 13 and 14 and section 3.5.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "by how much the picture’s own words help the suspect to denoise it"
    own_captions: ClassVar[Literal["refused", "taken", "needed"]] = "needed"

    levels: int = 16
    """Timesteps, one from each of as many equal bins, with one noise each; from 1. Published: 3, drawn at random."""
    timesteps: tuple[int, int] = (1, 999)
    """First and last timestep that may be drawn. Published: 1 to 1000, counted from 1."""
    seed: int = 0
    """Fixes timesteps and noise."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, {"levels": 1})
        check_range(self.timesteps)

    @property
    def last_timestep(self) -> int:
        """The last timestep that may be drawn."""
        return self.timesteps[1]

    @property
    def queries(self) -> int:
        """Every sample under the caption, and under its four reductions."""
        return 5 * self.levels

    def score(self, model: PromptedModel, latents: Float[Tensor, "n c h w"]) -> Float[Tensor, "n"]:
        """The mean discrepancy of the reduced captions."""
        noise, t = fixed_samples(self.levels, tuple(latents.shape[1:]), self.timesteps, self.seed)
        full = model.losses(latents, noise, t)
        reduced = zip(*(reductions(caption) for caption in model.prompts), strict=True)
        return torch.stack([model.under(words).losses(latents, noise, t) - full for words in reduced]).mean(0)


def reductions(caption: str) -> tuple[str, str, str, str]:
    """The first, middle and last third of a caption's words, and no words."""
    words = caption.split()
    first, second = round(len(words) / 3), round(2 * len(words) / 3)
    return " ".join(words[:first]), " ".join(words[first:second]), " ".join(words[second:]), ""
