"""A toy of two binary factors, a large and a small one, whose denoiser is exact."""

import math

import torch
from torch import Tensor, nn

from intaglio.models.diffusion.noise_schedule import NoiseSchedule

LARGE, LITTLE = 8.0, 0.25
"""Half the distances between the two values of each factor."""
LEAST = 0.05
"""Deviation of a factor about its values."""


def schedule() -> NoiseSchedule:
    """Of DDPM."""
    return NoiseSchedule.from_config({"_class_name": "DDPMScheduler", "num_train_timesteps": 1000})


def factors(count: int) -> Tensor:
    """Signs of the large and of the small factor, [n, 2], in all four combinations as often."""
    k = torch.arange(count)
    return torch.stack([2 * (k % 2) - 1, 2 * (k // 2 % 2) - 1], 1).float()


def rows(signs: Tensor) -> Tensor:
    """Points [n, 2, 1, 1] of the factors."""
    noise = LEAST * torch.randn(signs.shape, generator=torch.Generator().manual_seed(0))
    return (signs * torch.tensor([LARGE, LITTLE]) + noise)[..., None, None]


def exact_noise(levels: NoiseSchedule):
    """The noise that is expected in a noised point: of two normal distributions a factor, as likely each."""
    halves = torch.tensor([LARGE, LITTLE])

    def predict(noised: Tensor, t: Tensor) -> Tensor:
        a, s = levels.signal(t)[:, None], levels.noise(t)[:, None]
        x = noised[..., 0, 0]
        spread = (a * LEAST) ** 2 + s**2
        side = torch.tanh(a * halves * x / spread)
        clean = side * halves + a * LEAST**2 / spread * (x - a * side * halves)
        return ((x - a * clean) / s)[..., None, None]

    return predict


class LinearEncoder(nn.Module):
    """Numbers that are linear in the point with each factor at one size, 0 at first."""

    def __init__(self, numbers: int):
        super().__init__()
        self.layer = nn.Linear(2, numbers)
        nn.init.zeros_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)

    def forward(self, points: Tensor) -> Tensor:
        return self.layer(points[..., 0, 0] / torch.tensor([LARGE, LITTLE]))


class ToyGradient(nn.Module):
    """A perceptron on the noised point, the logarithm of the noise level and the numbers."""

    def __init__(self, numbers: int, levels: NoiseSchedule):
        super().__init__()
        self.levels = levels
        self.layers = nn.Sequential(
            nn.Linear(3 + numbers, 96), nn.SiLU(), nn.Linear(96, 96), nn.SiLU(), nn.Linear(96, 2)
        )

    def forward(self, noised: Tensor, t: Tensor, codes: Tensor) -> Tensor:
        a, s = self.levels.signal(t)[:, None], self.levels.noise(t)[:, None]
        told = torch.cat([noised[..., 0, 0], torch.log(s / a), codes], 1)
        return (self.layers(told) / s)[..., None, None]


def overlap(distance: float, a: float, s: float, draws: int = 200_000) -> float:
    """How often the likelier of two means, a times the distance apart, is not that which a draw came from."""
    noise = torch.randn(draws, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return float((s * noise > a * distance / 2).double().mean())


def normal_tail(x: float) -> float:
    """Probability of a standard normal above x."""
    return 0.5 * (1 - math.erf(x / math.sqrt(2)))
