"""Networks of an encoding: an encoder of pictures, and one that makes of its numbers a shift of a denoiser's noise."""

from diffusers.models.unets.unet_2d import UNet2DModel
from jaxtyping import Float, Int
from torch import Tensor, nn

WIDTHS = (32, 64, 96, 128)
"""Channels of the encoder's blocks, each of which halves the sides."""
CELLS = 4
"""Cells of a side over which the last block's maps are averaged."""
GROUPS = 8


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
    """A small U-Net on noised latents, to whose embedding of the timestep the numbers are added, after a linear layer.

    Its output is 0 until it is taught.
    """

    def __init__(self, channels: int, numbers: int, width: int):
        super().__init__()
        self.net = UNet2DModel(
            in_channels=channels, out_channels=channels, block_out_channels=(width, 2 * width), layers_per_block=1,
            down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"),
            norm_num_groups=GROUPS, class_embed_type="identity", resnet_time_scale_shift="scale_shift",
        )  # fmt: skip
        self.read = nn.Linear(numbers, 4 * width)
        nn.init.zeros_(self.net.conv_out.weight)
        nn.init.zeros_(self.net.conv_out.bias)

    def forward(
        self, latents: Float[Tensor, "n c h w"], t: Int[Tensor, "n"], codes: Float[Tensor, "n z"]
    ) -> Float[Tensor, "n c h w"]:
        """The gradient G, of the shape of the latents."""
        return self.net(latents, t, class_labels=self.read(codes)).sample
