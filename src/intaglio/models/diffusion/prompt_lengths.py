"""Tokenizers beside the text encoders that they serve: lengths of prompts and sizes of vocabularies."""

import copy
from collections.abc import Sequence
from typing import Any

from intaglio.errors import BadInput

RELATIVE = 2**16
"""Longest prompt in tokens for text encoders that take prompts of any length."""
_FIRST_OF_THE_HIGHEST = 2
"""An `eos_token_id` of earlier versions of transformers: the end is at the highest token, whatever its number."""


def fitted(tokenizers: Sequence[Any], encoders: Sequence[Any]) -> tuple[list[Any], list[str]]:
    """The tokenizers with prompts no longer than the text encoders' positions, and notes on what does not fit.

    A tokenizer that says a greater length, or none, is copied; the given one is left as it is.
    """
    made, notes = [], []
    for tokenizer, encoder in zip(tokenizers, encoders, strict=True):
        most, rows = positions_of(encoder), encoder.get_input_embeddings().num_embeddings
        if (words := _highest_token(tokenizer) + 1) < rows and most < RELATIVE:  # T5 has more than it needs
            notes.append(f"a text encoder has embeddings for {rows} tokens, of which its tokenizer writes only {words}")
        if tokenizer.model_max_length > most:
            said = tokenizer.model_max_length
            how = f"says {said} tokens a prompt" if said < 10**6 else "does not say how many tokens a prompt has"
            if most < RELATIVE:
                notes.append(f"a tokenizer {how}; {most} are used, as many as the text encoder has positions")
            tokenizer = copy.deepcopy(tokenizer)
            tokenizer.model_max_length = most
        made.append(tokenizer)
    return made, notes


def padded_on(tokenizer: Any, side: str | None) -> Any:
    """The tokenizer, or a copy of one that pads on another side; None: on whichever it does."""
    if side in (None, tokenizer.padding_side):
        return tokenizer
    made = copy.deepcopy(tokenizer)
    made.padding_side = side
    return made


def positions_of(encoder: Any) -> int:
    """Tokens of the longest prompt that a text encoder takes; 65,536 for one whose positions are relative."""
    config = getattr(encoder.config, "text_config", encoder.config)
    return getattr(config, "max_position_embeddings", RELATIVE)


def _highest_token(tokenizer: Any) -> int:
    return max(tokenizer.get_vocab().values(), default=-1)


def check_prompts(name: str, tokenizers: Sequence[Any], encoders: Sequence[Any]) -> None:
    """Raises `BadInput`, naming the model, for tokenizers whose tokens the text encoders cannot take.

    These have tokens without an embedding, prompts longer than the positions, or, where a pooled embedding is taken,
    another end of a prompt than the encoder looks for.
    """
    for place, (tokenizer, encoder) in enumerate(zip(tokenizers, encoders, strict=True), 1):
        which = f" {place}" if len(encoders) > 1 else ""
        rows, highest = encoder.get_input_embeddings().num_embeddings, _highest_token(tokenizer)
        end = getattr(encoder.config, "eos_token_id", None)
        if highest >= rows:
            reason = f"has tokens up to number {highest}, its text encoder embeddings for {rows}"
        elif tokenizer.model_max_length > positions_of(encoder):
            reason = f"takes {tokenizer.model_max_length} tokens, its text encoder {positions_of(encoder)}"
        elif place == 2 and end not in (_FIRST_OF_THE_HIGHEST, tokenizer.eos_token_id):
            reason = f"ends prompts with token {tokenizer.eos_token_id}, where its text encoder looks for {end}"
        else:
            continue
        raise BadInput(
            f"{name} cannot be used: its tokenizer{which} {reason}; give the tokenizer that belongs to the text encoder"
        )
