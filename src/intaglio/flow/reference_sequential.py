"""Sequential decoding as it was published: keys and values are joined anew at every step."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.flow.inverse import Inverse
from intaglio.flow.protocol import BlockReport, Decoder, Seen
from intaglio.models.tarflow import KeyValues


@dataclass(frozen=True, kw_only=True)
class ReferenceSequential(Decoder):
    """Sequential decoding as in the authors' code, for comparison: the same steps as `sequential`, but each joins all
    keys and values so far [n, heads, l, head width] from a list of single patches, T^2 / 2 copies a layer.

    Source: arXiv 2412.06329.
    """

    name: ClassVar[str] = "reference-sequential"

    def decode_block(
        self, inverse: Inverse, v: Float[Tensor, "n t c"], place: int, report: BlockReport, watch: Seen
    ) -> Float[Tensor, "n t c"]:
        """See `Decoder.decode_block`."""
        u, cache = v.clone(), JoinedKeyValues(inverse.cache())
        for at in range(inverse.tokens - 1):
            a, b = inverse.parameters(u[:, at : at + 1], at, cache)
            u[:, at + 1] = v[:, at + 1] * torch.exp(a[:, 0]) + b[:, 0]
            watch(u, at + 2)
        return u


class JoinedKeyValues(KeyValues):
    """Keys and values as lists of single patches, joined whenever they are read."""

    def __init__(self, like: KeyValues):
        self.pairs = [(_Joined(), _Joined()) for _ in like.pairs]  # pyright: ignore[reportAttributeAccessIssue]


class _Joined:
    """Takes `[:, :, start:stop] = part` and gives `[:, :, :stop]`, as a buffer would."""

    def __init__(self) -> None:
        self._parts: list[Tensor] = []

    def __setitem__(self, where: tuple[slice, slice, slice], part: Tensor) -> None:
        self._parts.append(part)

    def __getitem__(self, where: tuple[slice, slice, slice]) -> Tensor:
        return torch.cat(self._parts, dim=2)
