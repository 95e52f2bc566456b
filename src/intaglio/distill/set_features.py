"""Features of clean latents, by which a student's pictures are compared with a set's."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from intaglio.distill.heads import middle_features
from intaglio.metrics.similarity.encoder import EMBEDDED, load_encoder
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion

FeatureSource = Literal["middle", "encoder"]
Features = Callable[[Float[Tensor, "n c h w"]], Float[Tensor, "n d"]]
"""Features of clean latents on the model's device; differentiable where gradients are on."""
CHUNK = 32
"""Latents of the set whose features are taken at a time."""
LEAST = 1e-6
"""Smallest deviation that features are divided by."""


class SetFeatures(NamedTuple):
    """Features of a set, and of other latents in terms of the set's mean and deviations."""

    network: Features
    mean: Float[Tensor, "d"]
    deviation: Float[Tensor, "d"]
    known: Float[Tensor, "m d"]
    """Of the set."""

    @classmethod
    @torch.no_grad()
    def of(cls, network: Features, latents: Float[Tensor, "m c h w"]) -> "SetFeatures":
        """The features of a set of two latents or more."""
        found = torch.cat([network(part) for part in latents.split(CHUNK)])
        mean, deviation = found.mean(0), found.std(0).clamp(min=LEAST)
        return cls(network, mean, deviation, (found - mean) / deviation)

    def __call__(self, latents: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        """Features of clean latents; differentiable where gradients are on."""
        return (self.network(latents) - self.mean) / self.deviation


def network_features(teacher: LatentDiffusion, source: FeatureSource, timestep: int) -> Features:
    """The network of features of a source: `middle` is the teacher's middle block, `encoder` the embedded encoder.

    Means over places of the middle block are taken at `timestep` and the empty prompt. The encoder describes pictures
    as the decoder gives them, not clipped, so that no pixel is without a gradient.
    """
    return _middle(teacher, timestep) if source == "middle" else _encoder(teacher)


def _middle(teacher: LatentDiffusion, timestep: int) -> Features:
    blank = teacher.embed([""])

    def features(latents: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        x = latents.to(teacher.device)
        t = torch.full((len(x),), timestep, device=x.device)
        return middle_features(teacher, x, t, blank[[0] * len(x)]).float().mean((2, 3))

    return features


def _encoder(teacher: LatentDiffusion) -> Features:
    encoder = load_encoder(EMBEDDED, teacher.device)

    def features(latents: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        pixels = teacher.decode(latents.to(teacher.device), clamp=False).float()
        return encoder(interpolate(pixels, size=(encoder.size, encoder.size), mode="bilinear", antialias=True))

    return features
