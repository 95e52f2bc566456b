"""A small U-Net in pixels that is told attributes, and an encoder that reads them."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from intaglio.errors import BadInput
from intaglio.explain.counterfactuals.picture_walks import Pixels

WIDTH = 64
"""Hidden numbers of what an attribute adds to the embedding of time."""
GROUPS = 8
"""Of group normalisation."""
INNER = 16
"""Side that pictures are brought to by stacking cells of pixels as channels, where they are larger."""


def cell_of(side: int) -> int:
    """Pixels of the side of a cell that becomes channels. Raises `BadInput` for a side that cannot be halved so."""
    cell = max(2, side // INNER)
    if side < 8 or side % (4 * cell):
        raise BadInput(f"pictures of {side} x {side} cannot be halved often enough; give --resolution 32 or 64")
    return cell


class ConditionedDenoiser(nn.Module):
    """v of noised pictures, told values of attributes z [n, d] in [0, 1].

    Each attribute has a perceptron of its own, and their sum is added to the embedding of time: what one does is
    learnt apart from the others, so that values which never stood together can.
    """

    def __init__(self, side: int, attributes: int, channels: int):
        super().__init__()
        from diffusers import UNet2DModel

        self.cell = cell_of(side)
        depth, widths = 3 * self.cell**2, (channels, 2 * channels, 2 * channels)
        self.unet = UNet2DModel(
            sample_size=side // self.cell,
            in_channels=depth,
            out_channels=depth,
            layers_per_block=1,
            block_out_channels=widths,
            down_block_types=("DownBlock2D",) * len(widths),
            up_block_types=("UpBlock2D",) * len(widths),
            norm_num_groups=GROUPS,
            class_embed_type="identity",
            add_attention=False,
        )
        self.told = nn.ModuleList(
            nn.Sequential(nn.Linear(1, WIDTH), nn.SiLU(), nn.Linear(WIDTH, 4 * channels)) for _ in range(attributes)
        )

    def forward(self, noised: Pixels, times: Float[Tensor, "n"], values: Float[Tensor, "n d"]) -> Pixels:
        """The velocity v [n, 3, s, s]."""
        told = torch.stack([one(2 * values[:, [k]] - 1) for k, one in enumerate(self.told)]).sum(0)
        cells = pixel_unshuffle(noised, self.cell)
        return pixel_shuffle(self.unet(cells, 1000 * times, class_labels=told).sample, self.cell)


class AttributeEncoder(nn.Module):
    """Numbers [n, m] of pictures in [-1, 1]: three convolutions that halve, and a linear layer."""

    def __init__(self, side: int, numbers: int, channels: int):
        super().__init__()
        self.cell = cell_of(side)
        wide = 2 * channels
        self.layers = nn.Sequential(
            nn.Conv2d(3 * self.cell**2, channels, 3, stride=2, padding=1), nn.SiLU(),
            nn.Conv2d(channels, wide, 3, stride=2, padding=1), nn.SiLU(),
            nn.Conv2d(wide, wide, 3, stride=2, padding=1), nn.SiLU(),
            nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * wide, numbers),
        )  # fmt: skip

    def forward(self, pixels: Pixels) -> Float[Tensor, "n m"]:
        """Numbers of pictures."""
        return self.layers(pixel_unshuffle(pixels, self.cell))
