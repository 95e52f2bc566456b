"""A decoder whose weights a message scales: the map from bits to scales, and both ways to scale."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from intaglio.errors import BadInput
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.protect.fingerprint.decoder_tuning import decoder_of
from intaglio.randomness import generator

WIDTH = 128
"""Numbers of either layer of the map."""
SLOPE = 0.2
"""Slope of the map's leaky ReLU below 0."""

Scales = list[Tensor]
"""Of each layer, in their order: [n, channels taken], factors of what it takes, a row a picture."""


class KeyMap(nn.Module):
    """Messages [n, b] of bits to scales, a tensor [n, channels taken] a layer.

    Bits enter as -1 and 1, so that over messages each has mean 0 and second moment 1. What follows has 128 numbers: the
    bits over and over, to which two layers add, a leaky ReLU of slope 0.2 between them, the second of which starts at
    0. Then for each layer of the decoder a linear map that starts at 0, and to which 1 is added. So each bit has scales
    of its own before they act on each other.
    """

    def __init__(self, bits: int, channels: Sequence[int]):
        """Shapes without weights, on torch's meta device; `new_key_map` draws weights from a seed.

        Args:
            bits: number b of the message.
            channels: that each layer of the decoder takes.
        """
        super().__init__()
        self.places = [place % bits for place in range(WIDTH)]
        """Bits that the numbers between are begun as."""
        with torch.device("meta"):
            self.first, self.second = nn.Linear(bits, WIDTH), nn.Linear(WIDTH, WIDTH)
            self.heads = nn.ModuleList(nn.Linear(WIDTH, count) for count in channels)

    def forward(self, messages: Float[Tensor, "n b"]) -> Scales:
        """The scales of each layer."""
        bits = 2 * messages - 1
        known = bits[:, self.places] + self.second(leaky_relu(self.first(bits), SLOPE))
        return [1 + head(known) for head in self.heads]


def new_key_map(bits: int, channels: Sequence[int], seed: int) -> KeyMap:
    """A map whose scales are 1, with a random first layer that keeps the spread of numbers; see `KeyMap`."""
    found = KeyMap(bits, channels).to_empty(device="cpu")
    source = generator(seed, "key map")
    for weight in found.parameters():
        nn.init.zeros_(weight)
    nn.init.normal_(found.first.weight, std=bits**-0.5, generator=source)
    return found


def keyed_layers(model: LatentDiffusion) -> dict[str, nn.Conv2d | nn.Linear]:
    """The decoder's layers that are scaled, by their names in it: ResNet convolutions, and q, k, v of attention.

    Raises `BadInput` for a decoder without such layers.
    """
    found: dict[str, nn.Conv2d | nn.Linear] = {}
    for name, block in decoder_of(model).named_modules():
        if isinstance(block, ResnetBlock2D):
            parts = ("conv1", "conv2", "conv_shortcut")
        elif isinstance(block, Attention):
            parts = ("to_q", "to_k", "to_v")
        else:
            continue
        layers = {part: getattr(block, part, None) for part in parts}
        found |= {f"{name}.{k}": one for k, one in layers.items() if isinstance(one, nn.Conv2d | nn.Linear)}
    if not found:
        raise BadInput(f"the decoder of {model.name} has no ResNet blocks, which the mark scales; give another model")
    return found


def channels_of(layer: nn.Conv2d | nn.Linear) -> int:
    """Channels that a layer takes."""
    return layer.in_channels if isinstance(layer, nn.Conv2d) else layer.in_features


@contextmanager
def scaled(layers: Sequence[nn.Conv2d | nn.Linear], scales: Scales) -> Iterator[None]:
    """While the block runs each layer takes its input times its scales, each row of a batch its own.

    That is what it gives with the weights of `baked`, and rows may differ.
    """

    def hook(factors: Tensor):
        def multiplied(layer: nn.Module, given: tuple[Tensor]) -> tuple[Tensor]:
            (taken,) = given
            rows = len(taken)
            last = isinstance(layer, nn.Linear)
            shape = (rows, *(1,) * (taken.dim() - 2), -1) if last else (rows, -1, 1, 1)
            return (taken * factors.view(shape).to(taken),)

        return multiplied

    hooks = [layer.register_forward_pre_hook(hook(one)) for layer, one in zip(layers, scales, strict=True)]
    try:
        yield
    finally:
        for one in hooks:
            one.remove()


@torch.no_grad()
def bake(layers: Sequence[nn.Conv2d | nn.Linear], scales: Scales) -> None:
    """Multiplies each layer's weights, in place, by the one row of its scales: W'[o, i] = W[o, i] a[i], in float32."""
    for layer, one in zip(layers, scales, strict=True):
        (factors,) = one
        shape = (1, -1, *(1,) * (layer.weight.dim() - 2))
        layer.weight.copy_(layer.weight.float() * factors.float().view(shape).to(layer.weight.device))
