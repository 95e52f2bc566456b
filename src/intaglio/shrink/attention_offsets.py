"""Mean maps of a self-attention by offset, and the long convolution that begins as an attention with such maps."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.long_convolutions import LongConvolution
from intaglio.shrink.calibration_states import CalibrationStates


@torch.no_grad()
def mean_maps_by_offset(
    model: LatentDiffusion, rows: CalibrationStates, sides: Mapping[str, int]
) -> dict[str, Float[Tensor, "heads k k"]]:
    """Of each self-attention and head the mean probability by offset, over rows and places; k is 2·side-1.

    Entry [dy + side - 1, dx + side - 1] is the mean over places p whose p - (dy, dx) is on the grid of what p takes
    from there.
    """
    sums: dict[str, Tensor] = {}

    def noted(scope: str) -> Any:
        def note(attention: Any, given: tuple[Any, ...], named: dict[str, Any]) -> None:
            hidden = given[0] if given else named["hidden_states"]
            for row in hidden.split(1):  # a row at once: a map has as many numbers as there are pairs of places
                found = _by_offset(_probabilities(attention, row), sides[scope])
                sums[scope] = sums.get(scope, 0) + found

        return note

    hooks = [
        model.denoiser.get_submodule(scope).register_forward_pre_hook(noted(scope), with_kwargs=True) for scope in sides
    ]
    try:
        with model.frozen():
            for batch in rows.batches(model, 1):
                model.predict(*batch)
    finally:
        for hook in hooks:
            hook.remove()
    return {scope: found / len(rows) for scope, found in sums.items()}


@torch.no_grad()
def begin_as_attention(made: LongConvolution, attention: Any, maps: Float[Tensor, "heads k k"], lift: float) -> None:
    """Sets a long convolution to what the attention gives where its map is the mean one, as near as it can be.

    With W_h = O_h·V_h the change that head h makes to what it takes up, the linear layer is 2·Σ_h W_h, its gate open
    by half, and the kernel of channel c the mean of the heads' maps by the weights |W_h[:, c]|². `lift` is added to
    each tap away from zero, as squashing takes it off again.
    """
    heads = len(maps)
    out, value = attention.to_out[0], attention.to_v
    pairs = zip(out.weight.chunk(heads, 1), value.weight.chunk(heads, 0), strict=True)
    changes = torch.stack([one @ two for one, two in pairs])
    sizes = changes.square().sum(1) + 1e-12  # heads may be silent
    taps = torch.einsum("hc,hyx->cyx", sizes / sizes.sum(0), maps.to(sizes.dtype))
    made.kernel.copy_(taps + lift * taps.sign())
    made.direct.zero_()
    made.to_out.weight.zero_()
    made.to_out.bias.zero_()
    channels = len(out.weight)
    made.to_out.weight[:channels] = 2 * changes.sum(0)
    for bias in (out.bias, None if value.bias is None else out.weight @ value.bias):
        if bias is not None:
            made.to_out.bias[:channels] += 2 * bias


def _probabilities(attention: Any, hidden: Float[Tensor, "1 l c"]) -> Float[Tensor, "heads l l"]:
    query, key = (
        layer(hidden).unflatten(-1, (attention.heads, -1)).transpose(1, 2)[0].float()
        for layer in (attention.to_q, attention.to_k)
    )
    return (query @ key.transpose(-1, -2) * attention.scale).softmax(-1)


def _by_offset(maps: Float[Tensor, "heads l l"], side: int) -> Float[Tensor, "heads k k"]:
    """The mean of each head's map over the pairs of places of one offset."""
    place = torch.arange(side, device=maps.device)
    apart = place[:, None] - place + side - 1
    width = 2 * side - 1
    offsets = (apart[:, None, :, None] * width + apart[None, :, None, :]).flatten()
    sums = maps.new_zeros(len(maps), width * width).index_add_(1, offsets, maps.flatten(1))
    counts = maps.new_zeros(width * width).index_add_(0, offsets, maps.new_ones(len(offsets)))
    return (sums / counts).view(-1, width, width)
