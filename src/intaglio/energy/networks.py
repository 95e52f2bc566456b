"""Small networks of many kinds, which correct a profile's sums or are predicted from it: LeNet-like to U-Net."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn

from intaglio.energy.layers.layer import Step
from intaglio.energy.layers.parse import parse
from intaglio.models.library_logging import quiet_libraries
from intaglio.randomness import generator, numpy_generator


@dataclass(frozen=True, eq=False)
class SmallNetwork:
    """A network with an input, run forward and backward."""

    name: str
    model: nn.Module
    inputs: Tensor
    train: bool = True

    def step(self) -> Step:
        """Its layers."""
        return parse(self.model, self.inputs, train=self.train)

    def run(self) -> None:
        """One forward pass, and a backward pass from a gradient of ones; gradients are dropped."""
        with torch.set_grad_enabled(self.train):
            output = self.model(self.inputs)
            if self.train:
                output.backward(torch.ones_like(output))
        for weight in self.model.parameters():
            weight.grad = None


def lenet(widths: list[int], batch: int) -> tuple[nn.Module, Tensor]:
    """Two convolutions with pooling, and two linear layers, on pictures of 32 pixels."""
    a, b, c, _ = widths
    layers = [nn.Conv2d(3, a, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(a, b, 5, padding=2), nn.ReLU()]
    return nn.Sequential(
        *layers, nn.MaxPool2d(4), nn.Flatten(), nn.Linear(16 * b, c), nn.ReLU(), nn.Linear(c, 10)
    ), _pictures(batch)


def plain_cnn(widths: list[int], batch: int) -> tuple[nn.Module, Tensor]:
    """Four convolutions with batch norm, pooled to 16 and 8 pixels."""
    layers, before = list[nn.Module](), 3
    for k, width in enumerate(widths):
        layers += [nn.Conv2d(before, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if k in (0, 2) else []
        before = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, 10)), _pictures(batch)


class _Residual(nn.Module):
    def __init__(self, c_in: int, c_out: int, stride: int):
        super().__init__()
        self.first, self.second = nn.Conv2d(c_in, c_out, 3, stride, 1), nn.Conv2d(c_out, c_out, 3, padding=1)
        self.norms = nn.ModuleList([nn.BatchNorm2d(c_out), nn.BatchNorm2d(c_out)])
        self.short = nn.Conv2d(c_in, c_out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.norms[1](self.second(torch.relu(self.norms[0](self.first(x)))))
        return torch.relu(inner + self.short(x))


def resnet(widths: list[int], batch: int) -> tuple[nn.Module, Tensor]:
    """A stem and three residual blocks, at 32, 16 and 8 pixels."""
    a, b, c, d = widths
    blocks = [_Residual(a, b, 1), _Residual(b, c, 2), _Residual(c, d, 2)]
    return nn.Sequential(
        nn.Conv2d(3, a, 3, padding=1), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(d, 10)
    ), _pictures(batch)


class _Last(nn.Module):
    """An LSTM, and a linear layer on its last state."""

    def __init__(self, c_in: int, hidden: int):
        super().__init__()
        self.lstm, self.head = nn.LSTM(c_in, hidden, batch_first=True), nn.Linear(hidden, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x)[0][:, -1])


def lstm(widths: list[int], batch: int) -> tuple[nn.Module, Tensor]:
    """One LSTM over 16 steps."""
    return _Last(widths[0], widths[1]), torch.randn(batch, 16, widths[0])


class _Block(nn.Module):
    """A Transformer block: attention of heads of 16, and a feed-forward part, each after a norm."""

    def __init__(self, width: int, inner: int):
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        n, t, width = x.shape
        q, k, v = (part.view(n, t, -1, 16).transpose(1, 2) for part in self.qkv(self.norms[0](x)).chunk(3, -1))
        attended = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, t, width)
        x = x + self.out(attended)
        return x + self.down(nn.functional.gelu(self.up(self.norms[1](x))))


class _Mean(nn.Module):
    """Mean over tokens."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)


def transformer(widths: list[int], batch: int) -> tuple[nn.Module, Tensor]:
    """Three blocks over 32 tokens, and a linear layer on their mean."""
    width, inner = 16 * max(1, widths[0] // 16), widths[1] * 2

    blocks = [_Block(width, inner) for _ in range(3)]
    return nn.Sequential(*blocks, _Mean(), nn.Linear(width, 10)), torch.randn(batch, 32, width)


class _Denoising(nn.Module):
    """A U-Net at a fixed timestep and text, so that latents are its one input."""

    def __init__(self, width: int, inner: int, text: int):
        super().__init__()
        with quiet_libraries():
            self.unet = UNet2DConditionModel(
                sample_size=16,
                block_out_channels=(width, inner),
                layers_per_block=1,
                down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
                up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
                norm_num_groups=8,
                attention_head_dim=8,
                cross_attention_dim=text,
            )
        self.text: Tensor
        self.register_buffer("text", torch.randn(1, 16, text))

    def forward(self, x: Tensor) -> Tensor:
        text = self.text.expand(len(x), -1, -1)
        return self.unet(sample=x, timestep=10, encoder_hidden_states=text, return_dict=False)[0]


def unet(widths: list[int], batch: int) -> tuple[nn.Module, Tensor]:
    """A U-Net of two levels with attention to a text, on latents of 16 cells."""
    a, b, c, _ = (8 * max(1, width // 8) for width in widths)
    return _Denoising(a, b, c), torch.randn(batch, 4, 16, 16)


def _pictures(batch: int) -> Tensor:
    return torch.randn(batch, 3, 32, 32)


KINDS_OF_NETWORK: Mapping[str, Callable[[list[int], int], tuple[nn.Module, Tensor]]] = {
    "lenet": lenet,
    "plain-cnn": plain_cnn,
    "resnet": resnet,
    "lstm": lstm,
    "transformer": transformer,
    "unet": unet,
}
LOW, HIGH, BATCH = 8, 96, 8
"""Widths of layers, drawn evenly by logarithm, and pictures or sequences a step."""


def networks_of(count: int, seed: int, *, device: str = "cpu", batch: int = BATCH) -> list[SmallNetwork]:
    """So many networks of random widths, the kinds in turn; a function of the seed."""
    found = []
    for k in range(count):
        name, build = list(KINDS_OF_NETWORK.items())[k % len(KINDS_OF_NETWORK)]
        widths = (LOW * (HIGH / LOW) ** numpy_generator(seed, k).random(4)).round().astype(int).tolist()
        with torch.random.fork_rng(devices=[]):
            model, inputs = build(widths, batch)
        random = generator(seed, "network", k)
        with torch.no_grad():
            for tensor in (*model.parameters(), inputs):
                tensor.normal_(0.0, 0.1, generator=random)
        found.append(SmallNetwork(f"{name} {'-'.join(map(str, widths))}", model.to(device).train(), inputs.to(device)))
    return found
