"""Gradients of a number in the words of a prompt: the token embeddings that text encoders begin with."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.audit.prompts.result import WORD
from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.token_tables import token_tables

NO_WORD = -1
"""Word of a token that stands for none: a start, an end, padding, what a family writes around a prompt."""


def token_words(model: LatentDiffusion, index: int, prompt: str) -> list[int]:
    """The place among the prompt's words of each token that a text encoder is given; `NO_WORD` for others.

    A token that joins blank and letters is of the letters' word. A tokenizer that cannot say where in the text its
    tokens stand gives `NO_WORD` for all.
    """
    tokenizer, family = model.tokenizers[index], model.family
    if not getattr(tokenizer, "is_fast", False):
        return [NO_WORD] * family.prompt_length(index, model.components)
    written = family.prompt_text(prompt, tokenizer)
    start = written.rfind(prompt)
    word_at = {start + at: k for k, word in enumerate(WORD.finditer(prompt)) for at in range(*word.span())}
    offsets = tokenizer(
        written,
        padding="max_length",
        max_length=family.prompt_length(index, model.components),
        truncation=True,
        add_special_tokens=family.special_tokens,
        return_offsets_mapping=True,
    ).offset_mapping
    return [word_at.get(end - 1, NO_WORD) if end > first and start >= 0 else NO_WORD for first, end in offsets]


@dataclass(frozen=True, eq=False)
class PromptLeaves:
    """A prompt's conditioning, and the token embeddings that it is differentiable in."""

    text: Conditioning
    """Equal rows."""
    leaves: dict[int, Float[Tensor, "n l d"]]
    """By text encoder."""
    words: dict[int, list[int]]
    """By text encoder, the word of each of the l tokens."""
    count: int
    """Words of the prompt."""

    def norms(self, numbers: Float[Tensor, "n"]) -> Float[Tensor, "n words"]:
        """Norms of the gradient of each row's number in that row's embeddings, summed over the tokens of each word."""
        gradients = torch.autograd.grad(numbers.sum(), list(self.leaves.values()), allow_unused=True)
        found = torch.zeros(len(numbers), self.count, dtype=torch.float64)
        for index, gradient in zip(self.leaves, gradients, strict=True):
            if gradient is None:
                continue
            norms, words = gradient.double().norm(dim=2).cpu(), torch.tensor(self.words[index])
            found.index_add_(1, words[words != NO_WORD], norms[:, words != NO_WORD])
        return found


def prompt_leaves(model: LatentDiffusion, prompt: str, rows: int) -> PromptLeaves:
    """A prompt embedded in so many equal rows, differentiable in the embeddings of its tokens. The model is frozen."""
    with torch.enable_grad(), _kept_embeddings(model) as kept:
        text = model.embed_tokens([one[[0] * rows] for one in model.tokens([prompt])])
    words = {index: _aligned(model, index, prompt, leaf.shape[1]) for index, leaf in kept.leaves.items()}
    return PromptLeaves(text, kept.leaves, words, len(WORD.findall(prompt)))


def _aligned(model: LatentDiffusion, index: int, prompt: str, length: int) -> list[int]:
    """The words of the tokens that an encoder looked up, where a family leaves padding out."""
    words = token_words(model, index, prompt)
    return words[-length:] if getattr(model.tokenizers[index], "padding_side", "right") == "left" else words[:length]


@dataclass(eq=False)
class _Kept:
    """Embeddings that were looked up, by text encoder."""

    leaves: dict[int, Tensor] = field(default_factory=dict)

    def hook(self, index: int) -> Any:
        """Puts a leaf in place of what an embedding gives."""

        def keep(module: Any, given: Any, found: Tensor) -> Tensor:
            self.leaves[index] = found.detach().requires_grad_(True)
            return self.leaves[index]

        return keep


@contextmanager
def _kept_embeddings(model: LatentDiffusion) -> Iterator[_Kept]:
    kept = _Kept()
    hooks = [
        table.register_forward_hook(kept.hook(index))
        for index, encoder in enumerate(model.text_encoders)
        for table in token_tables(encoder)
    ]
    try:
        yield kept
    finally:
        for hook in hooks:
            hook.remove()
