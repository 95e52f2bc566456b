"""The weights of a model that are merged: floating-point tensors of denoiser and text encoders, by place and group."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from intaglio.models.diffusion.latent_diffusion import LatentDiffusion

DEPTH = 2
"""Names of a weight's path that name its group, such as `down_blocks.0`."""


class Place(NamedTuple):
    """One tensor of a model."""

    part: str
    """denoiser, text_encoder or text_encoder_2"""
    path: str
    """Its key in the part's state."""

    def __str__(self) -> str:
        return f"{self.part}.{self.path}"


def weights_of(model: LatentDiffusion) -> dict[Place, Tensor]:
    """The weights that are merged, by place in the order of names: all floating-point ones but the autoencoder's."""
    found = {
        Place(part, path): weight.detach()
        for part, module in model.parts.items()
        if part != "autoencoder"
        for path, weight in module.state_dict().items()
        if weight.is_floating_point()
    }
    return dict(sorted(found.items()))


def groups_of(model: LatentDiffusion) -> dict[str, list[Place]]:
    """The places by part and block, such as `denoiser.down_blocks.0`, in which a merge goes on."""
    found: dict[str, list[Place]] = {}
    for place in weights_of(model):
        block = ".".join(place.path.split(".")[:-1][:DEPTH])
        found.setdefault(f"{place.part}.{block}", []).append(place)
    return found


def matrices(model: LatentDiffusion) -> Iterator[tuple[str, Tensor]]:
    """Matrices and convolutions of the denoiser: norms begin alike in every network, and so tell nothing of a base."""
    yield from ((place.path, w) for place, w in weights_of(model).items() if place.part == "denoiser" and w.ndim > 1)


def weight_bytes(model: LatentDiffusion) -> int:
    """Bytes of the weights of all parts, the autoencoder's too."""
    tensors = (weight for part in model.parts.values() for weight in part.state_dict().values())
    return sum(weight.numel() * weight.element_size() for weight in tensors)


@torch.no_grad()
def relative_distance(one: LatentDiffusion, two: LatentDiffusion) -> tuple[float, str]:
    """The distance of two denoisers, and the matrix that is farthest by its own measure.

    That is |a - b| / sqrt(|a| |b|) over all matrices: 0 for equal ones, about 1.4 for unrelated ones.
    """
    theirs, totals, farthest = dict(matrices(two)), [0.0, 0.0, 0.0], (-1.0, "")
    for path, weight in matrices(one):
        a = weight.double()
        b = theirs[path].to(a.device).double()
        squares = [float(x.square().sum()) for x in (a - b, a, b)]
        totals = [total + square for total, square in zip(totals, squares, strict=True)]
        farthest = max(farthest, (_ratio(squares), path))
    return _ratio(totals), farthest[1]


def _ratio(squares: list[float]) -> float:
    apart, one, two = squares
    return (apart**0.5) / (one * two) ** 0.25 if one and two else float(apart > 0)
