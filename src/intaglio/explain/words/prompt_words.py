"""Words of a prompt: the places of their tokens, and the prompt without each."""

from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from intaglio.errors import BadInput
from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.library_logging import quiet_libraries

SIGNS = ".,;:!?\"'()[]-/&"
"""Signs around a word that are no part of its name."""


@dataclass(frozen=True, eq=False)
class AskedWords:
    """A prompt whose words are asked about, with what a model takes of it."""

    model: LatentDiffusion
    prompt: str
    words: tuple[str, ...]
    """Each in its order, without signs around it."""
    tokens: tuple[tuple[int, ...], ...]
    """Places of each word's tokens in the first text encoder's row, from the start token on."""
    whole: Conditioning
    """Of the prompt, one row."""
    without: Conditioning
    """Of the prompt without each word, a row a word."""
    empty: Conditioning
    """Of the empty prompt, one row."""


def asked_words(model: LatentDiffusion, prompt: str) -> AskedWords:
    """The words of a prompt, which are what stands between blanks, but for signs alone.

    Raises `BadInput` for a prompt without a word, and for one of which the text encoder does not read all.
    """
    parts = prompt.split()
    spoken = [k for k, part in enumerate(parts) if part.strip(SIGNS)]
    if not spoken:
        raise BadInput("the prompt has no word to ask about; give --prompt some")
    tokenizer, joined = model.tokenizers[0], " ".join(parts)
    ends = [_count(tokenizer, " ".join(parts[:k])) for k in range(len(parts) + 1)]
    start = _start(tokenizer)
    tokens = tuple(tuple(range(start + ends[k], start + ends[k + 1])) for k in spoken)
    read = model.tokens([""])[0].shape[1] - 1  # the end's token has a place too
    if (last := max(max(one, default=0) for one in tokens)) >= read:
        raise BadInput(f"the prompt has {last + 1} tokens, of which the model reads {read}; give a shorter one")
    whole = model.embed([joined])
    texts = [" ".join(parts[:k] + parts[k + 1 :]) for k in spoken]
    return AskedWords(
        model, joined, tuple(parts[k].strip(SIGNS) for k in spoken), tokens,
        whole, model.embed(texts), model.embed([""]),
    )  # fmt: skip


def _count(tokenizer: Any, text: str) -> int:
    """Tokens of a text, without those that every text has."""
    with quiet_libraries():
        return len(tokenizer(text, add_special_tokens=False).input_ids) if text else 0


def _start(tokenizer: Any) -> int:
    """Tokens before the text."""
    with quiet_libraries():
        bare, framed = (tokenizer("a", add_special_tokens=special).input_ids for special in (False, True))
    return next((k for k in range(len(framed)) if framed[k : k + len(bare)] == bare), 0)


def change_size(one: Float[Tensor, "n c h w"], other: Float[Tensor, "n c h w"]) -> Float[Tensor, "n h w"]:
    """Length of the difference of latents at each place."""
    return (one - other).square().sum(1).sqrt()
