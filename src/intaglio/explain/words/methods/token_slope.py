"""token-slope: where the predicted picture moves when a word's tokens are moved a little towards emptiness."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Real
from torch import Tensor

from intaglio.errors import require
from intaglio.explain.words.family import WordMapper
from intaglio.explain.words.prompt_words import AskedWords, change_size
from intaglio.models.diffusion.conditioning import Conditioning


@dataclass(frozen=True, kw_only=True)
class TokenSlope(WordMapper):
    """Slope by a word's tokens: the predicted latents' change on the way to emptiness.

    |x0(e + h d) - x0(e)| / h at each place, with x0 the predicted clean latents, where e are the text embeddings and d
    takes those at the word's tokens to the empty prompt's: a directional derivative by one difference, a mean over
    steps. Unlike `removal` it leaves what the text encoder wrote of the word into other tokens.

    Source: ours, a finite difference; first-order attribution of cross-attention models has no single source.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "the predicted picture moves when the word's own tokens are moved towards emptiness"

    share: float = 0.1
    """Share h of the way to the empty prompt's embeddings, in (0, 1]."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.share <= 1, f"share must be above 0 and at most 1, not {self.share}")

    def step_maps(
        self, asked: AskedWords, latents: Float[Tensor, "n c h w"], t: Real[Tensor, "n"]
    ) -> Float[Tensor, "n k h w"]:
        """See the family."""
        rows = [0] * len(latents)
        whole = asked.model.clean(latents, t, asked.whole[rows])
        found = [
            change_size(whole, asked.model.clean(latents, t, self._moved(asked, own)[rows])) / self.share
            for own in asked.tokens
        ]
        return torch.stack(found, 1)

    def _moved(self, asked: AskedWords, tokens: tuple[int, ...]) -> Conditioning:
        hidden = asked.whole.hidden.clone()
        places = list(tokens)
        hidden[:, places] += self.share * (asked.empty.hidden[:, places] - hidden[:, places])
        return replace(asked.whole, hidden=hidden)

    def step_rows(self, words: int) -> int:
        """One a word, and one of the whole prompt."""
        return 1 + words
