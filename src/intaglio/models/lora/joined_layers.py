"""Low-rank changes of modules that a published network has joined into one, or whose rows it has in another order."""

from collections.abc import Sequence

import torch

from intaglio.models.lora.adapter_layers import Layer


def members(layer: Layer, rows: Sequence[int]) -> list[Layer]:
    """The changes of the members of a joined module, by the numbers of their rows: its own with the up cut, exactly.

    Raises `ValueError` where the rows do not add up to those of the change.
    """
    if sum(rows) != layer.up.shape[0]:
        raise ValueError(f"it changes {layer.up.shape[0]} rows where the model's modules have {sum(rows)} together")
    return [Layer(layer.down, up, layer.alpha) for up in layer.up.split(list(rows))]


def joined(layers: Sequence[Layer | None], rows: Sequence[int]) -> Layer:
    """The change of a joined module, from those of its members; None for a member that is not changed.

    The downs stand below each other, the ups along the diagonal. Where all act with one strength alpha / rank it is
    kept, else each is multiplied into its up.
    """
    present = [one for one in layers if one is not None]
    rank, strengths = sum(one.rank for one in present), {one.scale for one in present}
    common = strengths.pop() if len(strengths) == 1 else None
    up, first, column = present[0].up.new_zeros(sum(rows), rank), 0, 0
    for one, count in zip(layers, rows, strict=True):
        if one is not None:
            part = one.up.detach() if common is not None else one.up.detach() * one.scale
            up[first : first + count, column : column + one.rank] = part
            column += one.rank
        first += count
    return Layer(torch.cat([one.down.detach() for one in present]), up, rank * (1.0 if common is None else common))


def swapped(layer: Layer) -> Layer:
    """The change with the halves of its rows exchanged."""
    return Layer(layer.down, torch.cat(layer.up.chunk(2)[::-1]), layer.alpha)
