"""Networks of an encoding: an encoder of pictures, and one that makes of its numbers a shift of a denoiser's noise."""

import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import interpolate

WIDTHS = (32, 64, 96, 128)
"""Channels of the encoder's blocks, each of which halves the sides."""
CELLS = 4
"""Cells of a side over which the last block's maps are averaged."""
GROUPS = 8
LAID, PLACES = 4, 8
"""Maps that the numbers are laid out as, and places of a side of each."""


class PictureEncoder(nn.Module):
    """Four convolutions of stride 2, means over 4 x 4 cells, and a linear layer to the numbers."""

    def __init__(self, numbers: int):
        super().__init__()
        parts, inward = list[nn.Module](), 3
        for width in WIDTHS:
            parts += [nn.Conv2d(inward, width, 3, 2, 1), nn.GroupNorm(GROUPS, width), nn.SiLU()]
            inward = width
        self.blocks = nn.Sequential(*parts, nn.AdaptiveAvgPool2d(CELLS), nn.Flatten())
        self.last = nn.Linear(inward * CELLS**2, numbers)

    def forward(self, pixels: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n z"]:
        """Numbers of pictures in [0, 1]."""
        return self.last(self.blocks(2 * pixels - 1))


class GradientNetwork(nn.Module):
    """A small U-Net on noised latents, which is given the numbers twice, each after a linear layer.

    They are added to its embedding of the timestep, and laid out as maps of 8 x 8 places beside the latents. Its output
    is 0 until it is taught.
    """

    def __init__(self, channels: int, numbers: int, width: int):
        super().__init__()
        self.net = UNet2DModel(
            in_channels=channels + LAID, out_channels=channels, layers_per_block=1,
            block_out_channels=(width, 2 * width),
            down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"),
            norm_num_groups=GROUPS, class_embed_type="identity", resnet_time_scale_shift="scale_shift",
        )  # fmt: skip
        self.read = nn.Linear(numbers, 4 * width)
        self.lay = nn.Linear(numbers, LAID * PLACES**2)
        nn.init.zeros_(self.net.conv_out.weight)
        nn.init.zeros_(self.net.conv_out.bias)  # pyright: ignore[reportArgumentType]

    def forward(
        self, latents: Float[Tensor, "n c h w"], t: Int[Tensor, "n"], codes: Float[Tensor, "n z"]
    ) -> Float[Tensor, "n c h w"]:
        """The gradient G, of the shape of the latents."""
        maps = self.lay(codes).view(-1, LAID, PLACES, PLACES)
        beside = interpolate(maps, latents.shape[2:], mode="bilinear")
        return self.net(torch.cat([latents, beside], 1), t, class_labels=self.read(codes)).sample
