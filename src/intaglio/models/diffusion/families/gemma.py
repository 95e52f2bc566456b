"""Text embeddings of Gemma 2."""

from jaxtyping import Bool, Float, Int
from torch import Tensor

from intaglio.models.diffusion.families.family import Parts
from intaglio.models.diffusion.families.shown_tokens import tokens_shown


def gemma_states(
    parts: Parts, tokens: Int[Tensor, "n l"], layer: int
) -> tuple[Float[Tensor, "n l d"], Bool[Tensor, "n l"]]:
    """Hidden states of a layer of a model's only text encoder, -1 for the last, and the tokens that are no padding."""
    encoder = parts.text_encoders[0]
    given = tokens.to(encoder.device)
    mask = tokens_shown(given, parts.tokenizers[0].pad_token_id)
    states = encoder(given, attention_mask=mask.long(), output_hidden_states=True, use_cache=False).hidden_states
    return states[layer].float(), mask
