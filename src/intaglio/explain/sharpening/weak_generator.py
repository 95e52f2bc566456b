"""A small network that tells noise from latents by a picture's descriptor, too weak to draw without it."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate, silu

from intaglio.models.diffusion.feature_routers import sinusoids

GROUPS = 4
"""Of the normalisation; widths are multiples of it."""
TIME_RANGE = 1000.0
"""A time of 1, to the sines and cosines by which the network is told it."""


class WeakGenerator(nn.Module):
    """The velocity n - x of noisy latents, told the time and a descriptor by shifts and scales of each channel.

    Two blocks at the latents' size and two at half of it. The descriptor passes a projector of two layers.

    Args:
        channels: of the latents.
        numbers: of a descriptor.
        width: channels at the latents' size, a multiple of 4; twice as many at half of it.
        local: channels of maps that it is shown beside the descriptor; 0 shows none.
    """

    def __init__(self, channels: int, numbers: int, width: int, local: int = 0):
        super().__init__()
        told = 4 * width
        self.width, self.numbers = width, numbers
        self.times = nn.Sequential(nn.Linear(width, told), nn.SiLU(), nn.Linear(told, told))
        self.projector = nn.Sequential(nn.Linear(numbers, told), nn.SiLU(), nn.Linear(told, told))
        self.lift = nn.Conv2d(channels, width, 3, padding=1)
        self.local = nn.Conv2d(local, width, 1) if local else None
        self.first, self.last = ToldBlock(width, told), ToldBlock(width, told)
        self.down = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.inner = nn.ModuleList([ToldBlock(2 * width, told), ToldBlock(2 * width, told)])
        self.up = nn.Conv2d(2 * width, width, 1)
        self.out = nn.Conv2d(width, channels, 3, padding=1)

    def forward(
        self,
        noisy: Float[Tensor, "n c h w"],
        times: Float[Tensor, " n"],
        descriptors: Float[Tensor, "n d"],
        maps: Float[Tensor, "n m p q"] | None = None,
    ) -> Float[Tensor, "n c h w"]:
        # A descriptor of unit length has numbers of size 1 / sqrt(d), and linear layers want them of size 1.
        told = self.times(sinusoids(TIME_RANGE * times, self.width)) + self.projector(descriptors * self.numbers**0.5)
        x = self.lift(noisy)
        if self.local is not None and maps is not None:
            x = x + interpolate(self.local(maps), x.shape[-2:], mode="bilinear")
        fine = self.first(x, told)
        x = self.down(fine)
        for block in self.inner:
            x = block(x, told)
        x = fine + interpolate(self.up(x), fine.shape[-2:], mode="nearest")
        return self.out(silu(self.last(x, told)))


class ToldBlock(nn.Module):
    """Normalisation, a scale and a shift of each channel by what is told, and a convolution; residual."""

    def __init__(self, width: int, told: int):
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, width)
        self.told = nn.Linear(told, 2 * width)
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Float[Tensor, "n c h w"], told: Float[Tensor, "n k"]) -> Float[Tensor, "n c h w"]:
        scale, shift = self.told(silu(told))[..., None, None].chunk(2, 1)
        return x + self.conv(silu(self.norm(x) * (1 + scale) + shift))


def new_generator(channels: int, numbers: int, width: int, local: int, seed: int) -> WeakGenerator:
    """A generator whose first weights are a function of the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        return WeakGenerator(channels, numbers, width, local)
