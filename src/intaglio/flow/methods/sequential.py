"""Sequential decoding: one patch after the other, with the keys and values of those before kept in place."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.flow.block.inverse import Inverse
from intaglio.flow.family import BlockReport, Decoder, Seen
from intaglio.models.flow.tarflow import Past


@dataclass(frozen=True, kw_only=True)
class SequentialDecoder(Decoder):
    """Sequential decoding: T - 1 small passes a block, u_l = v_l exp(a_l) + b_l with (a_l, b_l) from u_0..u_{l-1}.

    Keys and values [n, heads, T, head width] of all layers are written into buffers made once, so that no step copies
    what went before. The arithmetic of one forward pass, T - 1 times the latency: the honest baseline.

    Source: arXiv 2412.06329.
    """

    def decode_block(
        self, inverse: Inverse, v: Float[Tensor, "n t c"], place: int, report: BlockReport, watch: Seen
    ) -> Float[Tensor, "n t c"]:
        """See `Decoder.decode_block`."""
        u = v.clone()
        one_by_one(inverse, v, u, 0, inverse.cache(), watch)
        return u


def one_by_one(
    inverse: Inverse, v: Float[Tensor, "n t c"], u: Float[Tensor, "n t c"], start: int, cache: Past, watch: Seen
) -> None:
    """Decode the patches after `start` in place; `u` up to `start` is final, and what lies before it in the cache."""
    for place in range(start, inverse.tokens - 1):
        a, b = inverse.parameters(u[:, place : place + 1], place, cache)
        torch.addcmul(b, v[:, place + 1 : place + 2], torch.exp(a), out=u[:, place + 1 : place + 2])
        watch(u, place + 2)
