"""The tokens of a prompt that are no padding."""

import torch
from jaxtyping import Bool, Int
from torch import Tensor


def tokens_shown(tokens: Int[Tensor, "n l"], padding: int | None) -> Bool[Tensor, "n l"]:
    """The tokens from the first to the last that are no padding, as a tokenizer's attention mask has them."""
    own = (tokens != padding).int()
    return (own.cummax(1).values * own.flip(1).cummax(1).values.flip(1)).to(torch.bool)
