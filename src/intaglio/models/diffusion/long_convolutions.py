"""`LongConvolution`: in the place of a self-attention, a convolution as large as the grid of places itself."""

import math
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import Attention
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import glu, grid_sample, pad

from intaglio.errors import BadInput, require
from intaglio.models.diffusion.hidden_widths import SETTING as HIDDEN_WIDTHS
from intaglio.models.diffusion.hidden_widths import hidden_widths

SETTING = "long_convolutions"
"""Entry of a U-Net's config with the places a side of the grid of each module that is a long convolution."""


class LongConvolution(nn.Module):
    """A two-dimensional convolution of each channel over the whole grid, then a linear layer with a gate.

    For u of one channel on the s x s grid, y = k * u + d·u, with zeros around the grid and a kernel k of every offset,
    (2s-1) x (2s-1); then a⊙sigmoid(b), with (a, b) a linear function of all channels of y.
    """

    def __init__(self, channels: int, side: int):
        """`channels` of a place; `side` is s, the places a side that the kernel is made for."""
        super().__init__()
        self.side = side
        self.kernel = nn.Parameter(torch.zeros(channels, 2 * side - 1, 2 * side - 1))
        self.direct = nn.Parameter(torch.zeros(channels))
        self.to_out = nn.Linear(channels, 2 * channels)

    def forward(self, hidden_states: Float[Tensor, "n places c"], *args: Any, **kwargs: Any) -> Tensor:
        """[n, places, c]; places are a square grid, row by row.

        On a grid of another side the kernel is resampled bilinearly, with a warning. Raises `BadInput` for another
        shape of grid.
        """
        side = math.isqrt(hidden_states.shape[1])
        if side * side != hidden_states.shape[1]:
            raise BadInput(
                f"a long convolution takes a square grid of places, not {hidden_states.shape[1]} places; ask for "
                "pictures as wide as they are high"
            )
        if side != self.side:
            warnings.warn(
                f"a long convolution made for {self.side} places a side is resampled for {side}; what is drawn at "
                "another resolution than the model's was not learned",
                stacklevel=2,
            )
        grid = hidden_states.transpose(1, 2).unflatten(2, (side, side))
        found = convolved(grid.float(), resampled(self.kernel.float(), side))
        found = found.to(grid.dtype) + self.direct[:, None, None] * grid
        return glu(self.to_out(found.flatten(2).transpose(1, 2)), -1)


def convolved(grid: Float[Tensor, "n c s s"], kernel: Float[Tensor, "c k k"]) -> Float[Tensor, "n c s s"]:
    """y[p] = Σ_q k[p - q + s - 1]·u[q] of each channel, zeros around the grid; k is 2s-1."""
    side = grid.shape[-1]
    period = 2 * side  # 2s-1 offsets, none of which comes round to another
    first = pad(kernel, (0, 1, 0, 1)).roll((1 - side, 1 - side), (1, 2))
    product = torch.fft.rfft2(grid, s=(period, period)) * torch.fft.rfft2(first)
    return torch.fft.irfft2(product, s=(period, period))[..., :side, :side]


def resampled(kernel: Float[Tensor, "c k k"], side: int) -> Float[Tensor, "c m m"]:
    """The kernel for a grid of another side, [c, 2·side-1, 2·side-1], whose taps are in the same places of the picture.

    Bilinear, times the ratio of the places of both grids, so that the sum over a grid stays about the same.
    """
    own = (kernel.shape[-1] + 1) // 2
    if own == side:
        return kernel
    offsets = torch.arange(1 - side, side, device=kernel.device, dtype=kernel.dtype) * own / side / max(1, own - 1)
    where = torch.stack(torch.meshgrid(offsets, offsets, indexing="xy"), -1)
    taps = grid_sample(kernel[None], where[None], mode="bilinear", padding_mode="border", align_corners=True)[0]
    return taps * (own / side) ** 2


def self_attentions(denoiser: Any) -> dict[str, int]:
    """Names of the self-attentions that a long convolution can replace, with the places a side of their grids.

    The grid is that of the U-Net's own resolution, which each level halves, and rounds up.
    """
    plain, found = hidden_widths(denoiser), dict[str, int]()
    levels = len(denoiser.config.block_out_channels)
    for scope, block in denoiser.named_modules():
        if (
            not isinstance(block, BasicTransformerBlock)
            or block.norm_type != "layer_norm"
            or block.only_cross_attention
        ):
            continue
        name = f"{scope}.attn1"
        if isinstance(block.attn1, Attention) and name in plain:
            found[name] = math.ceil(int(denoiser.config.sample_size) / 2 ** _level(scope, levels))
    return found


def put_long_convolution(denoiser: Any, scope: str, side: int) -> LongConvolution:
    """Puts one, of zeros, in the place of a self-attention, in place; the U-Net's config notes it.

    Raises `ValueError` for a name that is not among `self_attentions(denoiser)`, and for a side below 1.
    """
    require(side >= 1, f"{SETTING} in its config.json says {side} for {scope}, where 1 or more is due")
    require(scope in self_attentions(denoiser), f"the U-Net has no self-attention {scope!r} that could be replaced")
    above, _, name = scope.rpartition(".")
    attention = denoiser.get_submodule(scope)
    weight = attention.to_q.weight
    with torch.device("meta"):  # where no weights are drawn from the global generator
        made = LongConvolution(attention.to_q.in_features, side)
    made = made.to_empty(device=weight.device).to(weight.dtype).train(attention.training)
    with torch.no_grad():
        for one in made.parameters():
            one.zero_()
    setattr(denoiser.get_submodule(above), name, made)
    sides = {**(denoiser.config.get(SETTING) or {}), scope: side}
    widths = denoiser.config.get(HIDDEN_WIDTHS) or {}
    kept = {HIDDEN_WIDTHS: {name: width for name, width in widths.items() if name != scope}} if widths else {}
    denoiser.register_to_config(**{SETTING: dict(sorted(sides.items())), **kept})
    return made


def put_long_convolutions(denoiser: Any, sides: Mapping[str, int]) -> None:
    """Puts one, of zeros, in the place of each of these; errors as of `put_long_convolution`."""
    for scope, side in sides.items():
        put_long_convolution(denoiser, scope, side)


def _level(scope: str, levels: int) -> int:
    """Level of the grid where a module of a U-Net runs: halvings before it."""
    kind, place = scope.split(".")[:2]
    if kind == "mid_block":
        return levels - 1
    return int(place) if kind == "down_blocks" else levels - 1 - int(place)
