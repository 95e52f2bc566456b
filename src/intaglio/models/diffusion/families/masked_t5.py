"""Text embeddings of T5 that its padding has no part in."""

from jaxtyping import Bool, Float, Int
from torch import Tensor

from intaglio.models.diffusion.families.family import Parts


def without_padding(tokens: Int[Tensor, "n l"], padding: int) -> Bool[Tensor, "n l"]:
    """The tokens up to the last one that is no padding."""
    return (tokens != padding).flip(1).cummax(1).values.flip(1)


def masked_t5(parts: Parts, tokens: Int[Tensor, "n l"]) -> tuple[Float[Tensor, "n l d"], Bool[Tensor, "n l"]]:
    """The last hidden states of a model's only text encoder, of which tokens attend to no padding; and the others."""
    encoder = parts.text_encoders[0]
    given = tokens.to(encoder.device)
    mask = without_padding(given, parts.tokenizers[0].pad_token_id)
    return encoder(given, attention_mask=mask.long())[0].float(), mask
