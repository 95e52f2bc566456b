"""Sequential decoding as it was published: keys and values are joined anew at every step."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.flow.block.inverse import Inverse
from intaglio.flow.family import BlockReport, Decoder, Seen
from intaglio.models.flow.tarflow import LayerPast


@dataclass(frozen=True, kw_only=True)
class ReferenceSequentialDecoder(Decoder):
    """Sequential decoding as in the authors' code, for comparison: the same steps as `sequential`, but each joins all
    keys and values so far [n, heads, l, head width] from a list of single patches, T^2 / 2 copies a layer.

    Source: arXiv 2412.06329.
    """

    def decode_block(
        self, inverse: Inverse, v: Float[Tensor, "n t c"], place: int, report: BlockReport, watch: Seen
    ) -> Float[Tensor, "n t c"]:
        """See `Decoder.decode_block`."""
        u, cache = v.clone(), [Relisted() for _ in inverse.block.layers]
        for at in range(inverse.tokens - 1):
            a, b = inverse.parameters(u[:, at : at + 1], at, cache)
            u[:, at + 1] = v[:, at + 1] * torch.exp(a[:, 0]) + b[:, 0]
            watch(u, at + 2)
        return u


class Relisted(LayerPast):
    """Keys and values as lists of single patches, joined whenever they are read."""

    def __init__(self) -> None:
        self._key_list: list[Tensor] = []
        self._value_list: list[Tensor] = []

    def joined(
        self, start: int, key: Float[Tensor, "n heads w dh"], value: Float[Tensor, "n heads w dh"]
    ) -> tuple[Float[Tensor, "n heads s dh"], Float[Tensor, "n heads s dh"]]:
        """See `LayerPast.joined`."""
        self._key_list.append(key)
        self._value_list.append(value)
        return torch.cat(self._key_list, dim=2), torch.cat(self._value_list, dim=2)
