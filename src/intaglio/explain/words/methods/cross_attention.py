"""cross-attention: how much each place looks at a word's tokens while the picture is drawn."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Real
from torch import Tensor
from torch.nn.functional import interpolate

from intaglio.errors import BadInput
from intaglio.explain.words.family import WordMapper
from intaglio.explain.words.prompt_words import AskedWords
from intaglio.models.capabilities import Encodes, HasUNet, PredictsNoise, ReadsPrompts
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.sampling.attention_maps import cross_attentions, recorded_maps


@dataclass(frozen=True, kw_only=True)
class CrossAttention(WordMapper):
    """Cross-attention maps: the share of a word's tokens in what each place takes up from the prompt.

    softmax(Q K^T / sqrt(d)) of every cross-attention, a mean over its heads, enlarged bicubically and cut off at 0,
    then a mean over layers and steps; a word has the mean of its tokens' maps. Attention is what is looked at, not what
    comes of it: the text encoder spreads a word over the tokens after it, so that its own tokens may do little.

    Source: Tang et al., arXiv 2210.04885 (DAAM), which sums where this takes means.
    """

    reading: ClassVar[str] = "the denoiser's cross-attention looks at the word's tokens"
    needs: ClassVar[tuple[type, ...]] = (Encodes, ReadsPrompts, PredictsNoise, HasUNet)

    def step_maps(
        self, asked: AskedWords, latents: Float[Tensor, "n c h w"], t: Real[Tensor, "n"]
    ) -> Float[Tensor, "n k h w"]:
        """See the family."""
        size = (latents.shape[-2], latents.shape[-1])
        with recorded_maps(asked.model.denoiser) as found:
            asked.model.predict(latents, t, asked.whole[[0] * len(latents)])
        tokens = torch.stack([enlarged(one, size) for one in found]).mean(0)
        words = [
            tokens[:, list(own)].mean(1) if own else torch.zeros_like(tokens[:, 0])  # a word that has no token
            for own in asked.tokens
        ]
        return torch.stack(words, 1)

    def step_rows(self, words: int) -> int:
        """One."""
        return 1

    def check(self, model: LatentDiffusion) -> None:
        """As the family's; raises `BadInput` for a model whose denoiser has no cross-attention."""
        super().check(model)
        if not cross_attentions(model.denoiser):
            raise BadInput(f"the denoiser of {model.name} has no cross-attention; take removal or token-slope")


def enlarged(shares: Float[Tensor, "n places tokens"], size: tuple[int, int]) -> Float[Tensor, "n tokens h w"]:
    """Shares by places of a layer, of the same proportions as `size`, as maps of that size, 0 or more."""
    height, width = size
    down = round((height * width / shares.shape[1]) ** 0.5)
    square = shares.transpose(1, 2).unflatten(2, (height // down, width // down))
    return interpolate(square, size=size, mode="bicubic", align_corners=False).clamp(min=0)
