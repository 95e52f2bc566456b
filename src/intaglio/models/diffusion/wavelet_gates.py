"""`WaveletDown`, `WaveletUp`: resamplers of a U-Net that weigh the bands of a Haar transform by what passes through."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from diffusers.models.downsampling import Downsample2D
from diffusers.models.upsampling import Upsample2D
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad, silu

from intaglio.errors import require

SETTING = "wavelet_gates"
"""Entry of a U-Net's config that says whether its resamplers are gated."""
BANDS = 4
"""Of a Haar transform: low and high along the height, each low and high along the width."""


class Bands(NamedTuple):
    """Coefficients of a Haar transform, each of half the height and width."""

    ll: Float[Tensor, "n c h w"]
    lh: Float[Tensor, "n c h w"]
    """Low along the height, high along the width."""
    hl: Float[Tensor, "n c h w"]
    hh: Float[Tensor, "n c h w"]


def haar(x: Float[Tensor, "n c h2 w2"]) -> Bands:
    """The orthonormal transform of even sides: sums and differences of each 2x2 square, by half."""
    a, b, c, d = x[..., ::2, ::2], x[..., ::2, 1::2], x[..., 1::2, ::2], x[..., 1::2, 1::2]
    return Bands((a + b + c + d) / 2, (a - b + c - d) / 2, (a + b - c - d) / 2, (a - b - c + d) / 2)


def inverse_haar(bands: Sequence[Float[Tensor, "n c h w"]]) -> Float[Tensor, "n c h2 w2"]:
    """The inverse of `haar`: from four bands to what they were made of."""
    ll, lh, hl, hh = bands
    upper = torch.stack([ll + lh + hl + hh, ll - lh + hl - hh], -1).flatten(-2)
    lower = torch.stack([ll + lh - hl - hh, ll - lh - hl + hh], -1).flatten(-2)
    return torch.stack([upper, lower], -2).flatten(-3, -2) / 2


class BandGates(nn.Module):
    """Gates g in (0, 1) of the four bands: the sigmoid of two layers on the mean over all places."""

    def __init__(self, channels: int):
        super().__init__()
        hidden = max(BANDS, channels // 4)
        self.first, self.last = nn.Linear(channels, hidden), nn.Linear(hidden, BANDS)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 4"]:
        """A gate of each band for each row."""
        return self.last(silu(self.first(x.mean((2, 3))))).sigmoid()


class WaveletDown(nn.Module):
    """Half the height and width: the sum of the gated bands of each channel, then the resampler's own convolution."""

    def __init__(self, channels: int, out_channels: int):
        super().__init__()
        self.channels, self.out_channels = channels, out_channels
        self.gates, self.conv = BandGates(channels), nn.Conv2d(channels, out_channels, 3, padding=1)

    def forward(self, hidden_states: Float[Tensor, "n c h w"], *args: Any, **kwargs: Any) -> Tensor:
        """[n, out_channels, ⌈h/2⌉, ⌈w/2⌉]; an odd side repeats its last row or column."""
        odd = [side % 2 for side in hidden_states.shape[-2:]]
        if any(odd):
            hidden_states = pad(hidden_states, (0, odd[1], 0, odd[0]), mode="replicate")
        gates = self.gates(hidden_states)[:, :, None, None, None].unbind(1)
        bands = haar(hidden_states)
        return self.conv(sum_of([gate * band for gate, band in zip(gates, bands, strict=True)]))


class WaveletUp(nn.Module):
    """Twice the height and width: quarters of the channels are gated as bands, put together, and then convolved."""

    def __init__(self, channels: int, out_channels: int):
        super().__init__()
        self.channels, self.out_channels = channels, out_channels
        self.gates, self.conv = BandGates(channels), nn.Conv2d(channels // BANDS, out_channels, 3, padding=1)

    def forward(
        self,
        hidden_states: Float[Tensor, "n c h w"],
        output_size: Sequence[int] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Tensor:
        """[n, out_channels, 2h, 2w], or of the size that is asked for, at most that."""
        gates = self.gates(hidden_states)[:, :, None, None, None].unbind(1)
        bands = hidden_states.chunk(BANDS, 1)
        grown = inverse_haar([gate * band for gate, band in zip(gates, bands, strict=True)])
        if output_size is not None:
            grown = grown[..., : output_size[0], : output_size[1]]
        return self.conv(grown)


def sum_of(bands: Sequence[Tensor]) -> Tensor:
    """Their sum."""
    return torch.stack(list(bands)).sum(0)


def gate_resamplers(denoiser: Any) -> None:
    """Puts gated ones in the place of all resamplers of a U-Net, in place; the U-Net's config notes it.

    All gates are a half. A convolution of half the size goes on with its weights, at a stride of 1; one of twice the
    size with four times those of its first quarter of channels, which then are the low band: of the others it knows
    nothing. No weights are drawn.

    Raises `ValueError` for a resampler without a convolution, and for channels that do not divide by four.
    """
    for scope, module in list(denoiser.named_modules()):
        if isinstance(module, Downsample2D | Upsample2D):
            above, _, name = scope.rpartition(".")
            setattr(denoiser.get_submodule(above), name, _gated(scope, module))
    denoiser.register_to_config(**{SETTING: True})


def _gated(scope: str, module: Any) -> nn.Module:
    conv: Any = getattr(module, "conv", None)
    channels = module.channels
    fits = isinstance(conv, nn.Conv2d) and conv.kernel_size == (3, 3) and conv.bias is not None
    require(fits, f"{SETTING} needs a convolution of 3x3 in the resampler {scope}, which has none")
    down = isinstance(module, Downsample2D)
    require(down or channels % BANDS == 0, f"{SETTING} needs channels that divide by four in {scope}, not {channels}")
    with torch.device("meta"):  # where no weights are drawn from the global generator
        made: Any = (WaveletDown if down else WaveletUp)(channels, module.out_channels)
    made = made.to_empty(device=conv.weight.device).to(conv.weight.dtype).train(module.training)
    with torch.no_grad():
        for weight in made.gates.parameters():
            weight.zero_()
        _begin(made.gates.first.weight)
        made.conv.weight.copy_(conv.weight if down else BANDS * conv.weight[:, : channels // BANDS])
        made.conv.bias.copy_(conv.bias)
    return made


def _begin(weight: Tensor) -> None:
    """Weights of the first layer that differ from each other, so that its outputs learn apart; none are drawn."""
    if not weight.is_meta:
        places = torch.arange(weight.numel(), device=weight.device, dtype=torch.float64).view(weight.shape)
        weight.copy_((places * 2.399963).sin() / weight.shape[1] ** 0.5)
