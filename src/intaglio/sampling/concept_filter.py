"""Token embeddings without the part that lies in the span of concepts: the filter of SAFREE (arXiv 2410.12761)."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from intaglio.models.diffusion.latent_diffusion import LatentDiffusion

TOLERANCE = 1e-4
"""Singular value of a span's vectors, over their largest, below which a direction counts as none of its own."""


class FilteredRows(NamedTuple):
    """Embeddings of a prompt's tokens after the filter."""

    rows: Float[Tensor, "n d"]
    """Those of triggers without what lies in the concepts' span, the others as they were."""
    triggers: Bool[Tensor, "n"]
    distance: float
    """β: 1 minus the mean cosine between every token's embedding and its projection; 0 for a prompt without tokens."""


def filtered_rows(
    hidden: Float[Tensor, "n d"], masked: Float[Tensor, "n d"], concepts: Float[Tensor, "m d"], alpha: float
) -> FilteredRows:
    """The filter for one prompt and one text encoder.

    With P_C the projector on the span of the concepts and P_I that on the masked prompts', token i is a trigger where
    dᵢ ≥ (1 + α) · mean of the other dⱼ, dᵢ = ‖(I - P_C) masked_i‖: without it the prompt is farther from the concepts.

    Args:
        hidden: embeddings of the prompt's n tokens.
        masked: pooled embeddings of the prompt with each token masked.
        concepts: pooled embeddings of the concepts, one at least.
        alpha: α, 0 or more.
    """
    off_concepts = torch.eye(concepts.shape[1], dtype=torch.float64, device=concepts.device) - projector(concepts)
    projected = hidden.double() @ projector(masked) @ off_concepts
    far = (masked.double() @ off_concepts).norm(dim=1)
    count = len(far)
    if count < 2:  # no others to compare with
        triggers = torch.zeros(count, dtype=torch.bool, device=hidden.device)
    else:
        triggers = far >= (1 + alpha) * (far.sum() - far) / (count - 1)
    cosine = torch.nn.functional.cosine_similarity(hidden.double(), projected, dim=1)
    rows = torch.where(triggers[:, None], projected.float(), hidden)
    return FilteredRows(rows, triggers, 1 - float(cosine.mean()) if count else 0.0)


def projector(rows: Float[Tensor, "n d"]) -> Float[Tensor, "d d"]:
    """The orthogonal projector on the span of vectors, float64; near-equal ones count once."""
    columns = rows.double().T
    return columns @ torch.linalg.pinv(columns, rtol=TOLERANCE)


class PromptTokens(NamedTuple):
    """One prompt's embeddings for one text encoder, as the filter takes them."""

    hidden: Float[Tensor, "n d"]
    masked: Float[Tensor, "n d"]
    places: slice
    """Where the prompt's tokens stand, between the first and the end token."""
    columns: slice
    """Where the encoder's numbers stand in the conditioning."""


def prompt_tokens(model: LatentDiffusion, prompt: str) -> list[PromptTokens]:
    """A prompt's tokens for each text encoder, with the pooled embedding of the prompt without each.

    A token is masked by the tokenizer's padding token; the pooled embedding is the encoder's own hidden state at the
    prompt's end token.
    """
    tokens = model.tokens([prompt])
    ends = [end_of(model, index, given)[0] for index, given in enumerate(tokens)]
    copies = [_masked(model, index, given[0], end) for index, (given, end) in enumerate(zip(tokens, ends, strict=True))]
    most = max(map(len, copies))
    # Encoders are asked together, so that all have as many rows; those beyond an encoder's own are dropped.
    filled = [torch.cat([rows, rows[-1:].expand(most - len(rows), -1)]) for rows in copies]
    hidden = model.embed_tokens(filled).hidden
    found, first = [], 0
    for index, end in enumerate(ends):
        columns = slice(first, first := first + model.text_encoders[index].get_input_embeddings().embedding_dim)
        own = hidden[: len(copies[index]), :, columns]
        found.append(PromptTokens(own[0, 1:end], own[1:, end], slice(1, end), columns))
    return found


def pooled(model: LatentDiffusion, texts: list[str]) -> list[Float[Tensor, "m d"]]:
    """The hidden state at the end token of each text, for each text encoder."""
    tokens = model.tokens(texts)
    hidden, found, first = model.embed_tokens(tokens).hidden, [], 0
    for index, given in enumerate(tokens):
        columns = slice(first, first := first + model.text_encoders[index].get_input_embeddings().embedding_dim)
        found.append(hidden[torch.arange(len(texts)), end_of(model, index, given)][:, columns])
    return found


def end_of(model: LatentDiffusion, index: int, tokens: Int[Tensor, "n _"]) -> list[int]:
    """Place of each prompt's end token."""
    ends = tokens == model.tokenizers[index].eos_token_id
    return ends.int().argmax(1).tolist()


def _masked(model: LatentDiffusion, index: int, tokens: Int[Tensor, "l"], end: int) -> Int[Tensor, "copies l"]:
    """The prompt, and below it the prompt with each of its tokens masked."""
    rows = tokens.repeat(max(1, end), 1)
    places = torch.arange(1, end)
    rows[places, places] = model.tokenizers[index].pad_token_id
    return rows
