"""removal: where the predicted picture changes when a word is left out of the prompt."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Float, Real
from torch import Tensor

from intaglio.explain.words.family import WordMapper, removal_effects
from intaglio.explain.words.prompt_words import AskedWords


@dataclass(frozen=True, kw_only=True)
class WordRemoval(WordMapper):
    """Removal of words: how far the predicted latents change without each.

    |x0(x_t, prompt) - x0(x_t, prompt without the word)| at each place, with x0 the predicted clean latents, a mean over
    all steps. It is what maps are tested
    by, at all steps in place of some, and asks the denoiser once a word and step. Latents stay those of the whole
    prompt: what a word did at earlier steps stays in them.

    Source: leave-one-out of the prompt's words; no paper of its own is known to us.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "the predicted picture changes when the word is left out"

    def step_maps(
        self, asked: AskedWords, latents: Float[Tensor, "n c h w"], t: Real[Tensor, "n"]
    ) -> Float[Tensor, "n k h w"]:
        """See the family."""
        return removal_effects(asked, latents, t)

    def step_rows(self, words: int) -> int:
        """One a word, and one of the whole prompt."""
        return 1 + words
