"""Changes of modules that a published network has joined into one, or whose rows it has in another order.

A change is taken apart by rows, exactly: a low-rank pair by those of its up, a LoHa by those of its two left factors,
a DoRA by those of its change and by its magnitudes, an OFT by its blocks. Of others the whole is computed and cut.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from intaglio.models.lora.adapter_layers import AdapterLayer, Layer
from intaglio.models.lora.dense_layers import DenseLayer, Factors, HadamardLayer, MagnitudeLayer
from intaglio.models.lora.rotation_layers import RotationLayer

Spans = Sequence[tuple[int, int]]
"""Stretches of rows, each from its first to behind its last, in the order in which they stand."""


@dataclass(frozen=True, eq=False)
class RowsLayer(DenseLayer):
    """Some rows of a change that is computed whole."""

    _KIND: ClassVar[str] = "part of a joined"
    _PEFT_TYPE: ClassVar[str] = ""
    inner: DenseLayer
    spans: Spans

    @classmethod
    def of(cls, layer: DenseLayer, spans: Spans) -> DenseLayer:
        """The rows of a change; the change itself where they are all of its rows in their order."""
        inner, spans = (layer.inner, _through(layer.spans, spans)) if isinstance(layer, RowsLayer) else (layer, spans)
        return inner if _one(spans) == [(0, inner.shape[0])] else cls(inner, spans)

    @property
    def kind(self) -> str:
        return f"{self._KIND} {self.inner.kind}"

    @property
    def peft_type(self) -> str:
        return self.inner.peft_type

    @property
    def shape(self) -> tuple[int, ...]:
        return sum(last - first for first, last in self.spans), *self.inner.shape[1:]

    def tensors(self) -> tuple[Tensor, ...]:
        return self.inner.tensors()

    def content(self) -> Iterator[str | Tensor]:
        yield f"{self.kind} {[tuple(span) for span in self.spans]}"
        yield from self.inner.content()

    def product(self) -> Tensor:
        return _rows(self.inner.product(), self.spans)


def members(layer: AdapterLayer, rows: Sequence[int]) -> list[AdapterLayer]:
    """The changes of the members of a joined module, by the numbers of their rows, exactly.

    Raises `ValueError` where the rows do not add up to those of the change, and for a kind that cannot be taken apart.
    """
    if layer.shape[0] not in (0, sum(rows)):
        raise ValueError(f"it changes {layer.shape[0]} rows where the model's modules have {sum(rows)} together")
    ends = [sum(rows[: place + 1]) for place in range(len(rows))]
    return [cut(layer, [(last - count, last)]) for last, count in zip(ends, rows, strict=True)]


def swapped(layer: AdapterLayer) -> AdapterLayer:
    """The change with the halves of its rows exchanged; raises `ValueError` as `members` does."""
    count = layer.shape[0]
    return cut(layer, [(count - count // 2, count), (0, count - count // 2)])


def cut(layer: AdapterLayer, spans: Spans) -> AdapterLayer:
    """The change of some rows of a weight; raises `ValueError`, with the reason, for a kind that has none."""
    if isinstance(layer, Layer):
        return Layer(layer.down, _rows(layer.up, spans), layer.alpha)
    if isinstance(layer, MagnitudeLayer):
        if not layer.of_rows:
            raise ValueError("a DoRA with the norms of inputs needs the weight of all that the file has joined")
        return MagnitudeLayer(cut(layer.inner, spans), _rows(layer.magnitude, spans), True, layer.dimensions)
    if isinstance(layer, HadamardLayer) and layer.first.core is None and layer.second.core is None:
        first, second = (Factors(_rows(one.a, spans), one.b) for one in (layer.first, layer.second))
        return HadamardLayer(first, second, layer.scale)
    if isinstance(layer, RotationLayer):
        return layer.rows(spans)
    if isinstance(layer, DenseLayer):
        return RowsLayer.of(layer, spans)
    raise ValueError(f"a {layer.kind} of modules that the model has apart, or in another order, is not supported")


def joined(layers: Sequence[AdapterLayer | None], rows: Sequence[int]) -> AdapterLayer:
    """The change of a joined module, from those of its members; None for a member that is not changed.

    Of low-rank pairs and of LoHas the right factors stand below each other, the left ones along the diagonal. Where
    all act with one strength alpha / rank it is kept, else each is multiplied into its left factor. Raises
    `ValueError`, with the reason, where no change of one kind is the same.
    """
    present = [one for one in layers if one is not None]
    if all(isinstance(one, Layer) for one in present):
        return _joined_pairs([one if isinstance(one, Layer) else None for one in layers], rows)
    hadamard = [one if isinstance(one, HadamardLayer) else None for one in layers]
    if sum(one is not None for one in hadamard) == len(present) and all(_flat(one) for one in hadamard if one):
        return _joined_products(hadamard, rows)
    if len(present) == len(layers):
        dora = [one for one in present if isinstance(one, MagnitudeLayer) and one.of_rows]
        if len(dora) == len(layers):
            inner = joined([one.inner for one in dora], rows)
            return MagnitudeLayer(inner, torch.cat([one.magnitude for one in dora]), True)
        parts = [one for one in present if isinstance(one, RowsLayer)]
        if len(parts) == len(layers) and all(one.inner is parts[0].inner for one in parts):
            return RowsLayer.of(parts[0].inner, [span for one in parts for span in one.spans])
    kinds = " and ".join(sorted({one.kind for one in present}))
    some = "" if len(present) == len(layers) else f" of {len(present)} of its {len(layers)} parts"
    raise ValueError(f"{kinds}{some} make no change of one layer")


def _joined_pairs(layers: Sequence[Layer | None], rows: Sequence[int]) -> Layer:
    common = _common([one.scale for one in layers if one is not None])
    up, down = _diagonal([None if one is None else (one.up, one.down, one.scale) for one in layers], rows, common)
    return Layer(down, up, down.shape[0] * (1.0 if common is None else common))


def _joined_products(layers: Sequence[HadamardLayer | None], rows: Sequence[int]) -> HadamardLayer:
    common = _common([one.scale for one in layers if one is not None])
    first = _diagonal([None if it is None else (it.first.a, it.first.b, it.scale) for it in layers], rows, common)
    second = _diagonal([None if it is None else (it.second.a, it.second.b, 1.0) for it in layers], rows, 1.0)
    return HadamardLayer(Factors(*first), Factors(*second), 1.0 if common is None else common)


def _diagonal(
    pairs: Sequence[tuple[Tensor, Tensor, float] | None], rows: Sequence[int], common: float | None
) -> tuple[Tensor, Tensor]:
    """(left, right): the left factors along the diagonal, each times its strength where there is no common one."""
    present = [one for one in pairs if one is not None]
    left = present[0][0].new_zeros(sum(rows), sum(right.shape[0] for _, right, _ in present))
    first, column = 0, 0
    for one, count in zip(pairs, rows, strict=True):
        if one is not None:
            own, right, scale = one
            part = own.detach() if common is not None else own.detach() * scale
            left[first : first + count, column : column + right.shape[0]] = part
            column += right.shape[0]
        first += count
    return left, torch.cat([right.detach() for _, right, _ in present])


def _common(strengths: Sequence[float]) -> float | None:
    return strengths[0] if len(set(strengths)) == 1 else None


def _flat(layer: HadamardLayer) -> bool:
    return layer.first.core is None and layer.second.core is None


def _rows(tensor: Tensor, spans: Spans) -> Tensor:
    parts = [tensor[first:last] for first, last in spans]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _through(inner: Spans, spans: Spans) -> list[tuple[int, int]]:
    """The stretches of the rows behind a cut that stretches of its own rows are."""
    found = []
    for first, last in spans:
        begin = 0
        for start, stop in inner:
            low, high = max(first, begin), min(last, begin + stop - start)
            if low < high:
                found.append((start + low - begin, start + high - begin))
            begin += stop - start
    return found


def _one(spans: Spans) -> list[tuple[int, int]]:
    """The same stretches, neighbours made one."""
    found: list[tuple[int, int]] = []
    for first, last in spans:
        found[-1:] = [(found[-1][0], last)] if found and found[-1][1] == first else [*found[-1:], (first, last)]
    return found
