"""Linear attention (SANA, arXiv 2410.10629, section 2.2) whose sums and quotient are float32, also under autocast."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

_LEAST = 1e-15
"""Added to the sum of an output's weights, which may be 0; half precision has no such number."""


class LinearAttention:
    """Computes an attention module of diffusers in place of its own processor, which half precision makes NaN.

    Projections are in the precision that the module computes in.
    """

    def __call__(
        self,
        attn: Any,
        hidden_states: Float[Tensor, "n l c"],
        encoder_hidden_states: Float[Tensor, "n m d"] | None = None,
        attention_mask: None = None,
    ) -> Float[Tensor, "n l c"]:
        """The module's output; names of arguments are those of diffusers."""
        source = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = attn.to_q(hidden_states), attn.to_k(source), attn.to_v(source)
        query = query if attn.norm_q is None else attn.norm_q(query)
        key = key if attn.norm_k is None else attn.norm_k(key)
        with torch.autocast(hidden_states.device.type, enabled=False):
            heads = (one.unflatten(-1, (attn.heads, -1)).transpose(1, 2).float() for one in (query, key, value))
            mixed = linear_attention(*heads).transpose(1, 2).flatten(2)
        projection, dropout = attn.to_out
        found = dropout(projection(mixed.to(hidden_states.dtype)))
        if found.dtype != torch.float16:
            return found
        most = torch.finfo(torch.float16).max
        return found.clamp(-most, most)


def linear_attention(
    query: Float[Tensor, "n h l d"], key: Float[Tensor, "n h m d"], value: Float[Tensor, "n h m e"]
) -> Float[Tensor, "n h l e"]:
    """Means of the values by the weights `relu(query) . relu(key)`; 0 where all weights are."""
    query, key = query.relu(), key.relu()
    sums = query @ key.sum(2)[..., None]
    return query @ (key.mT @ value) / (sums + _LEAST)
