"""Slots of noise levels, each with numbers of its own in an encoding, and ways to lay them over a schedule."""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor

from intaglio.errors import BadInput
from intaglio.models.diffusion.noise_schedule import NoiseSchedule

MOST_PICTURES = 512
"""Pictures whose principal directions are taken, at most."""


@dataclass(frozen=True)
class NoiseSlots:
    """Consecutive ranges of timesteps; at a timestep of a slot the numbers of this and of all earlier ones are given.

    Raises `ValueError` for slots without timesteps or numbers.
    """

    ends: tuple[int, ...]
    """The first timestep beyond each slot; the last is the schedule's count."""
    sizes: tuple[int, ...]
    """Numbers of each slot."""

    def __post_init__(self) -> None:
        rising = all(late > early for early, late in zip((0, *self.ends), self.ends, strict=False))
        if not self.ends or not rising or len(self.sizes) != len(self.ends) or min(self.sizes) < 1:
            raise ValueError(f"slots that end at {self.ends} with {self.sizes} numbers are none")

    @property
    def numbers(self) -> int:
        """Of a whole encoding."""
        return sum(self.sizes)

    @property
    def starts(self) -> tuple[int, ...]:
        """The first timestep of each slot."""
        return (0, *self.ends[:-1])

    def place(self, slot: int) -> slice:
        """Of a slot's own numbers."""
        before = sum(self.sizes[:slot])
        return slice(before, before + self.sizes[slot])

    def of(self, t: Int[Tensor, "n"]) -> Int[Tensor, "n"]:
        """The slot of each timestep."""
        return torch.bucketize(t.contiguous(), torch.tensor(self.ends, device=t.device), right=True)

    def given(self, t: Int[Tensor, "n"]) -> Float[Tensor, "n z"]:
        """1 for numbers that are given at each timestep: of its slot and of those before it; else 0."""
        return (self._owners(t) <= self.of(t)[:, None]).float()

    def own(self, t: Int[Tensor, "n"]) -> Float[Tensor, "n z"]:
        """1 for the numbers of the timestep's own slot; else 0."""
        return (self._owners(t) == self.of(t)[:, None]).float()

    def _owners(self, t: Tensor) -> Int[Tensor, "z"]:
        slots = torch.arange(len(self.sizes), device=t.device)
        return slots.repeat_interleave(torch.tensor(self.sizes, device=t.device))


def even_sizes(numbers: int, slots: int) -> tuple[int, ...]:
    """Numbers of each slot, as even as may be."""
    bounds = [numbers * k // slots for k in range(slots + 1)]
    return tuple(late - early for early, late in pairwise(bounds))


def even_ends(count: int, slots: int) -> tuple[int, ...]:
    """Ends of slots that share the timesteps evenly. Raises `BadInput` for more slots than timesteps."""
    if slots > count:
        raise BadInput(f"the model has {count} timesteps, too few for {slots} slots; give fewer --parts")
    return tuple(-(-count * (k + 1) // slots) for k in range(slots))


def confused_ends(confused: Float[Tensor, "t"], slots: int) -> tuple[int, ...]:
    """Ends of slots over which as much more is confused, each of one timestep or more.

    Args:
        confused: probability of confusion at each timestep, which does not fall.
        slots: no more than timesteps.

    Raises `BadInput` for more slots than timesteps.
    """
    count = len(confused)
    even_ends(count, slots)
    levels = torch.linspace(float(confused[0]), float(confused[-1]), slots + 1, dtype=torch.float64)[1:-1]
    wanted = torch.searchsorted(confused.double().contiguous(), levels).tolist()
    ends = list[int]()
    for k, end in enumerate(wanted):
        ends.append(min(max(end, (ends[-1] if ends else 0) + 1), count - (slots - 1 - k)))
    return (*ends, count)


def confusion(distances: Float[Tensor, "m"], schedule: NoiseSchedule) -> Float[Tensor, "t m"]:
    """Probability that the likelier of two pictures at a distance is the wrong one, once either is noised to t.

    Noised with signal level a and noise level s, both are normal with deviation s and means a d apart, and half of the
    overlap of the two is erfc(a d / (2 sqrt(2) s)) / 2: 0 for what is told apart, 1/2 for what is not.
    """
    ratios = schedule.signals / schedule.noises
    return torch.erfc(ratios[:, None] * distances.double() / (2 * math.sqrt(2))) / 2


def direction_distances(latents: Float[Tensor, "n *shape"]) -> Float[Tensor, "m"]:
    """Root mean squared distance of two pictures along each principal direction of their latents, the largest first."""
    rows = latents[:MOST_PICTURES].flatten(1).double()
    values = torch.linalg.svdvals(rows - rows.mean(0))[: max(1, len(rows) - 1)]
    return (2 * values.square() / max(1, len(rows) - 1)).sqrt()
