"""Text embeddings of T5 that its padding has no part in."""

from jaxtyping import Bool, Float, Int
from torch import Tensor

from intaglio.models.diffusion.families.family import Parts
from intaglio.models.diffusion.families.shown_tokens import tokens_shown


def masked_t5(parts: Parts, tokens: Int[Tensor, "n l"]) -> tuple[Float[Tensor, "n l d"], Bool[Tensor, "n l"]]:
    """The last hidden states of a model's only text encoder, of which tokens attend to no padding; and the others."""
    encoder = parts.text_encoders[0]
    given = tokens.to(encoder.device)
    mask = tokens_shown(given, parts.tokenizers[0].pad_token_id)
    return encoder(given, attention_mask=mask.long())[0].float(), mask
