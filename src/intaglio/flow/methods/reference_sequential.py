"""Sequential decoding as it was published: keys and values are concatenated anew at every step."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.flow.block.inverse import BlockInverse
from intaglio.flow.cost import BlockPasses, patch_by_patch
from intaglio.flow.family import Decoder
from intaglio.flow.results import BlockCallback, BlockReport
from intaglio.models.flow.tarflow import LayerCache, TarFlow


@dataclass(frozen=True, kw_only=True)
class ReferenceSequentialDecoder(Decoder):
    """Sequential decoding as in the authors' code, for comparison.

    The same steps as `sequential`, but each joins all keys and values so far [n, heads, l, head width] from a list of
    single patches, T^2 / 2 copies a layer.

    Source: arXiv 2412.06329.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"

    def passes(self, model: TarFlow, block: int) -> tuple[BlockPasses, ...]:
        """See `Decoder.passes`: one for every patch that another follows."""
        return patch_by_patch(model.config.tokens)

    def decode_block(
        self, inverse: BlockInverse, v: Float[Tensor, "n t c"], report: BlockReport, watch: BlockCallback
    ) -> Float[Tensor, "n t c"]:
        """See `Decoder.decode_block`."""
        u, cache = v.clone(), [ListCache() for _ in inverse.block.layers]
        for index in range(inverse.tokens - 1):
            a, b = inverse.parameters(u[:, index : index + 1], index, cache)
            u[:, index + 1] = v[:, index + 1] * torch.exp(a[:, 0]) + b[:, 0]
            watch(u, index + 2)
        return u


class ListCache(LayerCache):
    """Keys and values as lists of single patches, concatenated whenever they are read."""

    def __init__(self) -> None:
        self._key_list: list[Tensor] = []
        self._value_list: list[Tensor] = []

    def update(
        self, start: int, key: Float[Tensor, "n heads w dh"], value: Float[Tensor, "n heads w dh"]
    ) -> tuple[Float[Tensor, "n heads s dh"], Float[Tensor, "n heads s dh"]]:
        """See `LayerCache.update`."""
        self._key_list.append(key)
        self._value_list.append(value)
        return torch.cat(self._key_list, dim=2), torch.cat(self._value_list, dim=2)
