"""Pictures that a generator learns to draw from descriptors, along straight paths from latents to noise."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.explain.sharpening.weak_generator import WeakGenerator
from intaglio.learning.step_randomness import batch_at
from intaglio.metrics.similarity.encoder import Encoder
from intaglio.metrics.similarity.local_networks import resized
from intaglio.metrics.similarity.measures import PICTURES_AT_ONCE
from intaglio.randomness import generator as draws

Latents = Float[Tensor, "n c hl wl"]
SMALLEST = 1e-6
"""Deviation that a channel has at least."""


@dataclass(frozen=True, eq=False)
class Seen:
    """Descriptors of pictures by an encoder, and maps."""

    descriptors: Float[Tensor, "n d"]
    maps: Float[Tensor, "n m p q"] | None
    """Its coarsest maps, where they are shown."""

    def of(self, places: list[int]) -> "Seen":
        """That of some of the pictures."""
        return Seen(self.descriptors[places], None if self.maps is None else self.maps[places])


def seen(encoder: Encoder, pixels: Float[Tensor, "n 3 s s"], local: bool) -> Seen:
    """Descriptors of pictures of the encoder's size, with its coarsest maps where `local`."""
    middle, coarse = encoder.maps(pixels)
    return Seen(encoder.described(middle, coarse), coarse if local else None)


@torch.no_grad()
def all_seen(encoder: Encoder, pixels: Float[Tensor, "n 3 s s"], local: bool) -> Seen:
    """The same of many pictures, a few at once, without gradients."""
    parts = [seen(encoder, some, local) for some in pixels.split(PICTURES_AT_ONCE)]
    maps = [part.maps for part in parts if part.maps is not None]
    return Seen(torch.cat([part.descriptors for part in parts]), torch.cat(maps) if maps else None)


@dataclass(frozen=True, eq=False, kw_only=True)
class FlowLessons:
    """Pictures with their latents, each channel of mean 0 and deviation 1 over all of them."""

    pixels: Float[Tensor, "n 3 s s"]
    """Of the encoder's size."""
    latents: Latents
    centre: Float[Tensor, "c 1 1"]
    scale: Float[Tensor, "c 1 1"]
    rows: int
    """Pictures of an update."""
    time_scale: float
    seed: int

    @staticmethod
    def of(
        encoder: Encoder, pixels: Float[Tensor, "n 3 h w"], latents: Latents, *, rows: int, time_scale: float, seed: int
    ) -> "FlowLessons":
        """Of pictures of any side and latents on any scale."""
        centre = latents.mean((0, 2, 3))[:, None, None]
        scale = latents.std((0, 2, 3))[:, None, None].clamp_min(SMALLEST)
        return FlowLessons(
            pixels=fitted(encoder, pixels), latents=(latents - centre) / scale, centre=centre, scale=scale,
            rows=rows, time_scale=time_scale, seed=seed,
        )  # fmt: skip

    def places(self, step: int, stream: str) -> list[int]:
        """Of the pictures of a step, each once an epoch."""
        return batch_at(range(len(self.pixels)), step, self.rows, self.seed, stream)

    def loss(self, generator: WeakGenerator, given: Seen, places: list[int], step: int, stream: str) -> Tensor:
        """The mean squared error of a step's velocities, at times sigmoid(s N(0, 1))."""
        clean, source = self.latents[places], draws(self.seed, stream, step)
        times = (self.time_scale * torch.randn(len(clean), generator=source)).sigmoid()
        noise = torch.randn(clean.shape, generator=source)
        return velocity_errors(generator, given, clean, times.to(clean), noise.to(clean)).mean()


def velocity_errors(
    generator: WeakGenerator, given: Seen, clean: Latents, times: Float[Tensor, " n"], noise: Latents
) -> Float[Tensor, " n"]:
    """Mean squared error of each picture: at x_t = (1 - t) x + t n the generator is to say n - x."""
    t = times[:, None, None, None]
    said = generator((1 - t) * clean + t * noise, times, given.descriptors, given.maps)
    return (said - (noise - clean)).square().mean((1, 2, 3))


@torch.no_grad()
def held_out_errors(
    generator: WeakGenerator, given: Seen, latents: Latents, lessons: FlowLessons, count: int
) -> Float[Tensor, " n"]:
    """The same of other pictures, a mean over `count` times at equal steps of the draws' quantiles, noise by seed."""
    clean = (latents - lessons.centre) / lessons.scale
    levels = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    found = torch.zeros(len(clean), dtype=torch.float64)
    for k, time in enumerate((lessons.time_scale * torch.special.ndtri(levels)).sigmoid().tolist()):
        noise = torch.randn(clean.shape, generator=draws(lessons.seed, "held out", k)).to(clean)
        for places in torch.arange(len(clean)).split(PICTURES_AT_ONCE):
            times = clean.new_full((len(places),), time)
            some = given.of(places.tolist())
            errors = velocity_errors(generator, some, clean[places], times, noise[places])
            found[places] += errors.double().cpu() / count
    return found


def fitted(encoder: Encoder, pixels: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 s s"]:
    """Pictures at an encoder's size."""
    return resized(pixels, (encoder.size, encoder.size), "bilinear")
