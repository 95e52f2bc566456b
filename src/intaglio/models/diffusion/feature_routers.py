"""`FeatureRouters`: small networks that weigh the features of several U-Nets against each other, at every pixel."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from jaxtyping import Float, Real
from torch import Tensor, nn

from intaglio.randomness import generator_32bit

HEADS = 8
"""Heads of the attention, and groups of the normalisation."""
LAST = 1e-3
"""Deviation of the last convolution's first weights: the mean at first, and gradients before it all the same."""
LONGEST = 10_000.0
"""Longest period of the sinusoids of a timestep, over 2 pi."""


class FeatureRouter(nn.Module):
    """Weights of N features of one place: a 1x1 convolution, a resnet, a transformer layer, a 1x1 convolution."""

    def __init__(self, networks: int, channels: int, text: int, width: int):
        """`channels` of one feature, `text` numbers a token, `width` inside, a multiple of 8."""
        super().__init__()
        self.first = nn.Conv2d(networks * channels, width, 1)
        self.time = nn.Linear(width, width)
        self.resnet = ResnetBlock2D(in_channels=width, temb_channels=width, groups=HEADS)
        self.attention = Transformer2DModel(
            HEADS, width // HEADS, in_channels=width, cross_attention_dim=text, norm_num_groups=HEADS
        )
        self.last = nn.Conv2d(width, networks, 1)

    def forward(
        self, features: Float[Tensor, "n networks c h w"], t: Real[Tensor, "n"], text: Float[Tensor, "n l d"]
    ) -> Float[Tensor, "n networks h w"]:
        """Weights of 0 or more that are 1 in sum over the networks."""
        hidden = self.first(features.flatten(1, 2))
        hidden = self.resnet(hidden, self.time(sinusoids(t, hidden.shape[1])))
        hidden = self.attention(hidden, encoder_hidden_states=text, return_dict=False)[0]
        return self.last(hidden).softmax(1)


class FeatureRouters(nn.Module):
    """A router for each place where U-Nets in lock-step are merged; it merges them (`unet_lockstep.Merge`)."""

    def __init__(self, networks: int, channels: Sequence[int], text: int, width: int, seed: int):
        """Weights are drawn from the seed alone; `channels` are those of each place."""
        super().__init__()
        with torch.device("meta"):
            routers = [FeatureRouter(networks, count, text, width) for count in channels]
        self.of_place = nn.ModuleList(routers).to_empty(device="cpu")
        for name, weight in self.named_parameters():
            _draw(weight, name, seed)

    def forward(
        self,
        place: int,
        features: Float[Tensor, "n networks c h w"],
        t: Real[Tensor, "n"],
        text: Float[Tensor, "n l d"],
    ) -> Float[Tensor, "n c h w"]:
        """The sum of the features by the weights of the place, in the precision of the features."""
        router = cast("FeatureRouter", self.of_place[place])
        weights = router(features.float(), t, text.float())
        return (weights[:, :, None] * features).sum(1).to(features.dtype)


def sinusoids(t: Real[Tensor, "n"], width: int) -> Float[Tensor, "n width"]:
    """Sines and cosines of timesteps, half of the width each, of periods in geometric progression."""
    places = torch.arange(width // 2, device=t.device, dtype=torch.float32)
    angles = t[:, None].float() * LONGEST ** (-places / (width // 2))
    return torch.cat([angles.sin(), angles.cos()], 1)


@torch.no_grad()
def _draw(weight: Any, name: str, seed: int) -> None:
    """First values: unit gains and no offsets; else a deviation of 1 over the root of what goes in, or `LAST`."""
    *module, kind = name.split(".")
    if kind == "bias":
        weight.zero_()
    elif weight.ndim == 1:
        weight.fill_(1.0)
    else:
        deviation = LAST if module[-1] == "last" else weight[0].numel() ** -0.5
        weight.normal_(0.0, deviation, generator=generator_32bit(seed, name))
