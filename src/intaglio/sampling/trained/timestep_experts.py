"""Small classifiers of noised latents, each for a range of timesteps."""

from typing import cast

import torch
from jaxtyping import Float, Int, Real
from torch import Tensor, nn

from intaglio.learning.drawn_layer import drawn_layer
from intaglio.models.diffusion.noise_schedule import NoiseSchedule

WIDTH = 64
"""Channels of the first layer; the others have twice as many."""


class TimestepExpert(nn.Module):
    """Logits of classes from noised latents and their level: three halving convolutions, a mean, a linear layer."""

    def __init__(self, channels: int, classes: int, seed: int, place: int):
        """Weights are drawn from the seed and the place of the expert alone."""
        super().__init__()
        self.first = drawn_layer(nn.Conv2d, seed, (place, "first"), channels, WIDTH, 3, stride=2, padding=1)
        self.level = drawn_layer(nn.Linear, seed, (place, "level"), 2, WIDTH)
        self.second = drawn_layer(nn.Conv2d, seed, (place, "second"), WIDTH, 2 * WIDTH, 3, stride=2, padding=1)
        self.third = drawn_layer(nn.Conv2d, seed, (place, "third"), 2 * WIDTH, 2 * WIDTH, 3, stride=2, padding=1)
        self.last = drawn_layer(nn.Linear, seed, (place, "last"), 2 * WIDTH, classes)
        self.act = nn.SiLU()

    def forward(self, latents: Float[Tensor, "n c h w"], level: Float[Tensor, "n 2"]) -> Float[Tensor, "n classes"]:
        """Logits; `level` has the signal and the noise in the latents."""
        hidden = self.act(self.first(latents) + self.level(level)[:, :, None, None])
        return self.last(self.act(self.third(self.act(self.second(hidden)))).mean((2, 3)))


class TimestepExperts(nn.Module):
    """Experts of equal ranges of a schedule's timesteps, the first for the cleanest."""

    def __init__(self, schedule: NoiseSchedule, channels: int, classes: int, experts: int, seed: int):
        """`experts` of them, each with weights of its own from the seed."""
        super().__init__()
        self._levels = torch.stack([schedule.signals, schedule.noises], 1).float()
        self.classes = classes
        self.of_range = nn.ModuleList(TimestepExpert(channels, classes, seed, e) for e in range(experts))

    def forward(self, latents: Float[Tensor, "n c h w"], t: Real[Tensor, "n"]) -> Float[Tensor, "n classes"]:
        """Log-probabilities of the classes, each row by the expert of its timestep."""
        places, levels = self.places(t), self._levels.to(latents)[t]
        logits = latents.new_zeros(len(latents), self.classes)
        for place in places.unique().tolist():
            rows = (places == place).nonzero()[:, 0]
            expert = cast("TimestepExpert", self.of_range[place])
            logits = logits.index_copy(0, rows, expert(latents[rows], levels[rows]))
        return logits.log_softmax(1)

    def places(self, t: Real[Tensor, "n"]) -> Int[Tensor, "n"]:
        """Place of the expert of each timestep."""
        return t * len(self.of_range) // len(self._levels)
